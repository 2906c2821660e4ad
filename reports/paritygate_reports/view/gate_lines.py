"""The verdicts of a gate as lines, worst first, and remarks on the gate's run as a whole. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from paritygate.core.reasons import counted, first_line, split
from paritygate.core.record import Record, Run, Verdict
from paritygate.timing.schedule import over_launches

WORST_FIRST = (
    Verdict.ANSWERS_CHANGED,
    Verdict.REGRESSED,
    Verdict.UNSTABLE,
    Verdict.HEAVIER,
    Verdict.SLOWER_PREPARE,
    Verdict.FACT_CHANGED,
    Verdict.MISSING,
    Verdict.BROKEN,
    Verdict.INCONCLUSIVE,
    Verdict.NOT_COMPARABLE,
    Verdict.NEW,
    Verdict.IMPROVED,
    Verdict.SAME,
)


def compared(records: Sequence[Record]) -> list[Record]:
    """Return the records that have a verdict: the worst verdict first, within one the largest
    effect.
    """
    order = {str(verdict): place for place, verdict in enumerate(WORST_FIRST)}
    judged = [record for record in records if record.verdict]
    return sorted(
        judged, key=lambda r: (order.get(r.verdict, len(order)), -(r.effect or 0.0), r.cell)
    )


def title(run: Run, records: Sequence[Record]) -> str:
    """Return the names of head and base, and the number of cells with each verdict."""
    gate = run.environment.get("gate", {})
    counts = Counter(record.verdict for record in compared(records))
    identical = sum(record.identical for record in records)
    more = {Verdict.SAME: f" ({identical} not measured: identical)" if identical else ""}
    ended = ", ".join(
        f"{counts[verdict]} {str(verdict).replace('_', ' ')}{more.get(verdict, '')}"
        for verdict in WORST_FIRST
        if counts[verdict]
    )
    base = f"{gate.get('against', 'base')} ({str(gate.get('commit', ''))[:10]})"
    return f"head against {base}, profile {gate.get('profile', 'normal')}: {ended}"


def line(record: Record) -> str:
    """Return a line about one cell: verdict, effect with its interval, launches, and the smallest
    slowdown that would be found.
    """
    word = record.verdict.replace("_", " ")
    if record.effect is None or record.effect_low is None or record.effect_high is None:
        return f"{word:<13} {record.cell}: {first_line(record.verdict_reason)}"
    interval = f"{record.effect:+7.1%} ({record.effect_low:+.1%} to {record.effect_high:+.1%})"
    seen = "" if record.detectable is None else f", sees {record.detectable:.1%}"
    return (
        f"{word:<13}{interval:<28} {record.cell}  {counted(record.launches, 'launch pair')}{seen}"
    )


def body(record: Record) -> str:
    """Return more about a cell: why it is not simply the same, and the certain changes."""
    if record.effect is None:  # the line already holds the first line of the reason
        why = split(record.verdict_reason)[1]
    else:
        why = "" if record.verdict == Verdict.SAME else record.verdict_reason
    return "\n".join([*filter(None, [why]), *record.findings])


def families(records: Sequence[Record]) -> list[str]:
    """Return the mean effect over the cells of each case, backend and device, one line for each
    with at least three cells. No verdict.

    A small change of all of them shows here before it shows in any single one.
    """
    effects: dict[str, list[float]] = {}
    for record in records:
        if record.effect is not None:
            effects.setdefault(f"{record.case} {record.device}-{record.backend}", []).append(
                1 + record.effect
            )
    lines = []
    for family, ratios in sorted(effects.items()):
        mean, low, high = over_launches(ratios)  # here the unit is the cell
        if low is not None and high is not None:
            lines.append(
                f"{family}: {mean - 1:+.1%} ({low - 1:+.1%} to {high - 1:+.1%}) over {len(ratios)} cells"
            )
    return lines


def remarks(run: Run) -> list[tuple[str, bool]]:
    """Return remarks on the run as a whole: (text, whether it is bad)."""
    gate = run.environment.get("gate", {})
    lines = [
        (f"run invalid: {reason}; nothing in it is a verdict", True)
        for reason in gate.get("invalid", ())
    ]
    lines += [
        (
            f"missing: {cell} is in base and not in head; if it was removed or renamed on purpose, "
            "list it in the ini option bench_removed",
            True,
        )
        for cell in gate.get("missing", ())
    ]
    return lines + [(warning, False) for warning in gate.get("warnings", ())]
