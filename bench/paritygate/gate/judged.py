"""The record of a cell after the gate: its verdict, from times, memory, facts and answers. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from paritygate.core.case import Cell
from paritygate.core.record import RED, Comparison, End, Record, Status, Verdict
from paritygate.gate import acceptance, prepare
from paritygate.gate.acceptance import Accepted
from paritygate.gate.findings import Changes
from paritygate.gate.memory import Peaks, heavier
from paritygate.gate.request import Margins
from paritygate.gate.sides import Result
from paritygate.session import records

UNJUDGED = (Verdict.BROKEN, Verdict.NOT_COMPARABLE)


def gated(
    cell: Cell, record: Record | None, result: Result, accepted: Accepted | None, margins: Margins
) -> Record:
    """Return the cell's record with head's times of all launches and its verdict."""
    record = record or records.unchecked_here(cell)
    pairs = [measured for launch in result.launches for name, measured in launch if name == cell.id]
    if pairs and record.status is Status.OK:
        blocks = [measured.head for measured in pairs]
        record = record.joined(records.speed_of_pairs(cell, blocks, pairs[0].calls))
    certain = result.certain.get(cell.id, Changes())
    found = certain.found
    if (broken := result.broken.get(cell.id)) is not None:
        verdict = Verdict.BROKEN if broken.side else Verdict.NOT_COMPARABLE
        reason = f"{broken.side}: {broken.reason}" if broken.side else broken.reason
        if broken.side == "head" and record.status is Status.OK:
            record = records.ended(cell, End(broken.status, broken.reason), record)
        return record.joined(Comparison(str(verdict), reason, findings=found))
    decided = result.decided.get(cell.id)
    if decided is None:
        late = "the time was up before its first launch pair; give a longer --bench-limit"
        reason = result.invalid[0] if result.invalid else late
        return record.joined(Comparison(str(Verdict.INCONCLUSIVE), reason, findings=found))
    decided = acceptance.judge(decided, result.d[cell.id], accepted, margins)
    verdict, reason = decided.verdict, decided.reason
    # in an invalid run no cell is red and no cell is improved
    if result.invalid and verdict is not Verdict.SAME:
        verdict, reason = Verdict.INCONCLUSIVE, f"the run is invalid: {result.invalid[0]}"
    if verdict is Verdict.SAME and certain.same_code:
        reason = f"the same generated code; {reason}"
    estimate = decided.estimate
    compared = Comparison(
        str(verdict),
        reason,
        effect=estimate.effect,
        effect_low=estimate.low,
        effect_high=estimate.high,
        effect_sd=estimate.sd,
        detectable=decided.detectable if math.isfinite(decided.detectable) else None,
        findings=found,
    )
    return record.joined(compared, launches=estimate.launches)


def with_memory(record: Record, peaks: Peaks, share: float, accepted: Accepted | None) -> Record:
    """Return a judged record, with the verdict *heavier* if head needs more memory than tolerated.

    ``peaks``: (base, head) of each launch pair. ``share``: the tolerated growth. ``accepted``: the
    growth that may be all the same, or None.
    """
    if record.verdict in UNJUDGED:
        return record
    return _grown(record, Verdict.HEAVIER, partial(heavier, peaks), share, accepted)


def with_prepare(
    record: Record,
    prepared: Mapping[str, prepare.Prepared],
    margins: Margins,
    accepted: Accepted | None,
) -> Record:
    """Return a judged record, with the verdict *slower prepare* if head surely takes longer to
    prepare than tolerated. If that is only likely, a finding.

    ``prepared``: the launch pairs of every cell. ``accepted``: the growth that may be all the same,
    or None.
    """
    if record.verdict in UNJUDGED:
        return record

    def slower(share: float) -> str:
        return prepare.slower(record.cell, prepared, share, margins.alpha)

    if slower(margins.prepare):
        return _grown(record, Verdict.SLOWER_PREPARE, slower, margins.prepare, accepted)
    line = prepare.perhaps_slower(prepared.get(record.cell, ()), margins.prepare_caught)
    return replace(record, findings=[*record.findings, line]) if line else record


def with_kept(record: Record, changed: Sequence[str]) -> Record:
    """Return a judged record, with the verdict *fact changed* if a fact that its case keeps differs
    (``changed``).
    """
    if not changed or record.verdict in UNJUDGED:
        return record
    reason = f"the case keeps this fact, and it is another: {'; '.join(changed)}"
    return _worse(record, Verdict.FACT_CHANGED, reason)


def with_answers(record: Record, changed: str, accepted: str) -> Record:
    """Return a judged record, with the verdict *answers changed* if head's answers are others.

    ``changed``: why they are, or "". ``accepted``: the reason for which they may be, or "".
    """
    if not changed or record.verdict in UNJUDGED:
        return record
    if accepted:
        return replace(record, findings=[*record.findings, f"answers: accepted: {accepted}"])
    return _beside_its_time(
        record, Verdict.ANSWERS_CHANGED, f"wrong by base's own reference answers: {changed}"
    )


def _grown(
    record: Record,
    verdict: Verdict,
    grown: Callable[[float], str],
    share: float,
    accepted: Accepted | None,
) -> Record:
    """Return the record with this verdict if something has grown by more than ``share``, and by more
    than is accepted. ``grown``: by how much, if it is more than a share; or "".
    """
    reason = grown(share)
    if not reason:
        return record
    if accepted is not None and accepted.share > share:
        reason = grown(accepted.share)
        if not reason:
            what = "memory" if verdict is Verdict.HEAVIER else "prepare"
            line = f"{what}: accepted up to {accepted.share:.0%}: {accepted.reason}"
            return replace(record, findings=[*record.findings, line])
    return _worse(record, verdict, reason)


def _worse(record: Record, verdict: Verdict, reason: str) -> Record:
    """Return the record with this verdict, or with the reason as a finding if it is red already."""
    if record.verdict in RED:
        return replace(record, findings=[*record.findings, reason])
    return _beside_its_time(record, verdict, reason)


def _beside_its_time(record: Record, verdict: Verdict, reason: str) -> Record:
    also = "" if record.verdict == Verdict.SAME else f"; its time: {record.verdict}"
    return replace(record, verdict=str(verdict), verdict_reason=f"{reason}{also}")
