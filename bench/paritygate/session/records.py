"""Make records from their parts: the answers of a worker, times, and how a cell ended."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from paritygate.core.case import Cell
from paritygate.core.record import Check, End, Record, Speed, Status
from paritygate.process.protocol import Examined, Opened
from paritygate.timing import diagnostics, schedule


def ended(cell: Cell, end: End, known: Record | None = None) -> Record:
    """Return the record of a cell that ended in this way. Keep the fields of ``known``, if given."""
    record = known or Record(
        cell=cell.id,
        case=cell.case.name,
        shape=cell.shape.name,
        device=cell.target.device,
        backend=cell.target.backend,
        dtype=cell.target.dtype,
        status=end.status,
        unit=cell.case.unit,
        units=cell.units,
    )
    facts = record.facts | ({"trace": end.trace} if end.trace else {})
    return record.joined(status=end.status, reason=end.reason, facts=facts)


def skipped(cell: Cell, reason: str) -> Record:
    """Return the record of a cell that cannot run here."""
    return ended(cell, End(Status.SKIPPED, reason))


def unchecked_here(cell: Cell) -> Record:
    """Return the record of a cell whose check was not requested. It counts as ok."""
    return ended(cell, End(Status.OK))


def checked(
    cell: Cell, opened: Opened, examined: Examined | None, shared: Mapping[str, Any]
) -> Record:
    """Return the record of a cell that a worker has opened and examined.

    ``shared``: the facts that all cells of its group share.
    """
    facts = opened.facts | (examined.facts if examined else {}) | dict(shared)
    found = {part.name: getattr(opened, part.name) for part in fields(Check)}
    later = vars(examined) if examined else {}
    found |= {name: later[name] for name in found if later.get(name) is not None}
    found |= {name: facts.pop(name) for name in ("parameters", "flops") if name in shared}
    if found["reference"] == "float64" and facts.get("promoted"):
        found["reference"] = "promoted"
    last = examined if examined and examined.status else opened
    return ended(cell, End(Status(last.status), last.reason)).joined(
        Check(**found),
        facts=facts,
        parity=opened.parity,
        warnings=diagnostics.model_warnings(facts),
    )


def with_known_failure(cell: Cell, record: Record) -> Record:
    """Return the record with the known or fixed failure that the case declares for this cell, if
    any.
    """
    fact = {Status.PARITY_FAILED: "known_gap", Status.OK: "gap_closed"}.get(record.status)
    reason = cell.case.known_failure(cell.target)
    return record.joined(facts=record.facts | {fact: reason}) if fact and reason else record


def speed(
    cell: Cell, launches: Sequence[schedule.Timing], eager: Sequence[schedule.Timing]
) -> Speed:
    """Return the speed of a cell from its timings and eager's, one for each launch."""
    samples = [sample for launch in launches for sample in launch.samples]
    if len(samples) > schedule.KEPT_SAMPLES:
        step = len(samples) / schedule.KEPT_SAMPLES
        samples = [samples[int(i * step)] for i in range(schedule.KEPT_SAMPLES)]
    p50, p90, p99 = (schedule.quantile(samples, share) for share in (0.5, 0.9, 0.99))
    ratios = [
        r
        for mine, base in zip(launches, eager, strict=False)
        if (r := schedule.ratio(base, mine)) is not None
    ]
    speedup, low, high = schedule.over_launches(ratios) if ratios else (None, None, None)
    if cell.target.backend == "eager":
        speedup, low, high = 1.0, None, None
    precise = all(launch.stop == "precision" for launch in launches)
    return Speed(
        **_of_blocks(cell, [launch.blocks for launch in launches]),
        latency_p50=p50,
        latency_p90=p90,
        latency_p99=p99,
        speedup=speedup,
        speedup_low=low,
        speedup_high=high,
        calls_per_sample=launches[0].plan.calls,
        samples_seen=sum(launch.seen for launch in launches),
        stop="precision" if precise else "budget",
        samples=samples,
    )


def speed_of_pairs(cell: Cell, blocks: list[list[float]], calls: int) -> Speed:
    """Return the speed of a cell from head's block times in the gate, a list for each launch pair.

    The gate keeps no single samples.
    """
    median = statistics.median(block for launch in blocks for block in launch)
    return Speed(
        **_of_blocks(cell, blocks), latency_p50=median, calls_per_sample=calls, stop="gate"
    )


def _of_blocks(cell: Cell, blocks: list[list[float]]) -> dict[str, Any]:
    """Return the throughput and its interval from block times: seconds per call, a list for each
    launch.
    """
    every = [block for launch in blocks for block in launch]
    low, high = schedule.median_interval(every) or (None, None)
    return {
        "blocks": blocks,
        "launches": len(blocks),
        "throughput": cell.units / statistics.median(every),
        "interval_low": low,
        "interval_high": high,
    }
