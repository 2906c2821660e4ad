"""A record as it fills: blank, then skipped, ended or opened, then timed."""

from __future__ import annotations

import statistics
from typing import Any

from paritygate.core import reasons
from paritygate.core.case import Cell
from paritygate.core.record import Record, Status
from paritygate.process.client import WorkerError
from paritygate.process.protocol import Examined, Opened
from paritygate.timing import diagnostics, schedule


def blank(cell: Cell) -> Record:
    """The record of a cell of which nothing is known yet."""
    return Record(
        cell=cell.id,
        case=cell.case.name,
        shape=cell.shape.name,
        device=cell.target.device,
        backend=cell.target.backend,
        dtype=cell.target.dtype,
        status=Status.OK,
        unit=cell.case.unit,
        units=cell.units,
    )


def skipped(cell: Cell, reason: str) -> Record:
    """The record of a cell that cannot run here."""
    record = blank(cell)
    gave_up(record, Status.SKIPPED, reason)
    return record


def gave_up(record: Record, status: Status, reason: str, trace: str = "") -> None:
    """Complete a record with why it is not ok; here every reason and trace loses its terminal
    codes.
    """
    record.status, record.reason = status, reasons.whole(reason)
    if trace := reasons.clean(trace):
        record.facts["trace"] = trace


def ended(record: Record, end: WorkerError) -> None:
    """Complete a record with how its worker ended."""
    gave_up(record, end.status, end.reason, end.trace)


def opened(record: Record, found: Opened, examined: Examined | None, facts: dict[str, Any]) -> None:
    """Complete a record with what a worker has opened and examined, and the facts of its group."""
    shared = dict(facts)
    record.parameters, record.flops = shared.pop("parameters", None), shared.pop("flops", None)
    for part in filter(None, (found, examined)):
        for name, value in vars(part).items():
            if name not in ("facts", "status", "reason") and (part is found or value is not None):
                setattr(record, name, value)
    last = examined if examined is not None and examined.status else found
    record.status, record.reason = Status(last.status), reasons.whole(last.reason)
    record.facts = found.facts | (examined.facts if examined else {}) | shared
    record.facts.pop("cold", None)
    record.warnings = diagnostics.of_model(record.facts)
    if record.reference == "float64" and record.facts.get("promoted"):
        record.reference = "promoted"


def timed(
    record: Record, units: int, launches: list[schedule.Timing], eager: list[schedule.Timing]
) -> None:
    """Complete a record with its timings, a list of one for each launch."""
    record.samples = [sample for launch in launches for sample in launch.samples]
    if len(record.samples) > schedule.KEPT_SAMPLES:
        step = len(record.samples) / schedule.KEPT_SAMPLES
        record.samples = [record.samples[int(i * step)] for i in range(schedule.KEPT_SAMPLES)]
    record.latency_p50, record.latency_p90, record.latency_p99 = (
        schedule.quantile(record.samples, share) for share in (0.5, 0.9, 0.99)
    )
    record.samples_seen = sum(launch.seen for launch in launches)
    record.stop = (
        "precision" if all(launch.stop == "precision" for launch in launches) else "budget"
    )
    _speed(record, units, [launch.blocks for launch in launches], launches[0].plan.calls)
    if record.backend == "eager":
        record.speedup = 1.0
        return
    ratios = [
        r
        for mine, base in zip(launches, eager, strict=False)
        if (r := schedule.ratio(base, mine)) is not None
    ]
    if ratios:
        record.speedup, record.speedup_low, record.speedup_high = schedule.over_launches(ratios)


def paired(record: Record, units: int, blocks: list[list[float]], calls: int) -> None:
    """Complete a record with head's block times of the gate, a list for each launch pair; no single
    samples.
    """
    _speed(record, units, blocks, calls)
    record.latency_p50 = statistics.median(block for launch in blocks for block in launch)
    record.stop = "gate"


def _speed(record: Record, units: int, blocks: list[list[float]], calls: int) -> None:
    """Throughput and its interval from block times, seconds per call, a list for each launch."""
    every = [block for launch in blocks for block in launch]
    record.blocks, record.launches, record.calls_per_sample = blocks, len(blocks), calls
    record.throughput = units / statistics.median(every)
    record.interval_low, record.interval_high = schedule.median_interval(every) or (None, None)
