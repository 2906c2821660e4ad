"""The table of a run as values: groups of rows of text, which every renderer lays out in its own
way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from paritygate.core.reasons import counted, first_line
from paritygate.core.record import Record, Status
from paritygate_reports.view import text

HEAD = ("target", "per s", "p50", "p99", "vs eager", "error", "of max", "memory", "prepare")
BAD = (Status.PARITY_FAILED, Status.FAILED, Status.CRASHED, Status.TIMED_OUT, Status.OUT_OF_MEMORY)
KNOWN_FAILURE = "known failure"


@dataclass(frozen=True)
class Row:
    """One cell: its texts under ``HEAD``, or, instead of the numbers, a note on how it ended."""

    record: Record
    texts: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Group:
    """The rows of one case and shape. ``unit`` is the unit of its throughput."""

    case: str
    shape: str
    unit: str
    rows: tuple[Row, ...]

    @property
    def bad(self) -> bool:
        """Whether one of its rows failed."""
        return any(is_failure(row.record) for row in self.rows)


def is_known_failure(record: Record) -> bool:
    """Return whether the record is a parity failure that its case declares as a known failure."""
    return record.status is Status.PARITY_FAILED and bool(record.known_failure)


def is_failure(record: Record) -> bool:
    """Return whether the record is a failure: a bad status that is not a known failure."""
    return record.status in BAD and not is_known_failure(record)


def ending(record: Record) -> str:
    """Return how the cell ended: its status, or ``known failure``."""
    return KNOWN_FAILURE if is_known_failure(record) else str(record.status)


def groups(records: Iterable[Record]) -> list[Group]:
    """Return the groups with a table, in the order of the run: those with a speed or with a
    failure.
    """
    return [_group(members) for members in _by_shape(records) if _has_table(members)]


def parity_only(records: Iterable[Record]) -> dict[str, str]:
    """Return case -> one line about its shapes that were checked, not timed, and passed."""
    shapes = _by_shape(records)
    timed = {members[0].case for members in shapes if _has_table(members)}
    fine: dict[str, list[Record]] = {}
    for members in shapes:
        if not _has_table(members):
            checked = (r for r in members if r.status is Status.OK and not r.identical)
            fine.setdefault(members[0].case, []).extend(checked)
    return {
        case: _fine_line(members, "parity also at" if case in timed else "parity at")
        for case, members in fine.items()
        if members
    }


def _by_shape(records: Iterable[Record]) -> list[list[Record]]:
    """Return the records of each shape, those of one case together. Both are in the order of first
    appearance.
    """
    cases: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        cases.setdefault(record.case, {}).setdefault(record.shape, []).append(record)
    return [members for shapes in cases.values() for members in shapes.values()]


def _has_table(members: Sequence[Record]) -> bool:
    return any(record.measured or record.status in BAD for record in members)


def _group(members: Sequence[Record]) -> Group:
    unit = text.second_unit(
        time for record in members for time in (record.latency_p50, record.latency_p99)
    )
    counts = next((record.unit for record in members if record.unit), "")
    ordered = sorted(
        members, key=lambda r: (r.device, r.dtype, r.status is Status.SKIPPED, r.backend != "eager")
    )
    return Group(
        members[0].case, members[0].shape, counts, tuple(_row(record, unit) for record in ordered)
    )


def _row(record: Record, unit: str) -> Row:
    target = f"{record.device}-{record.backend}-{record.dtype}"
    if record.status is not Status.OK:
        note = f"{KNOWN_FAILURE}: {record.known_failure}" if is_known_failure(record) else ""
        return Row(
            record,
            (target,),
            note or f"{record.status}: {first_line(record.reason)}".removesuffix(": "),
        )
    return Row(
        record,
        (
            target,
            text.rate(record.throughput),
            text.seconds(record.latency_p50, unit),
            text.seconds(record.latency_p99, unit),
            text.ratio(
                record.speedup,
                record.speedup_low,
                record.speedup_high,
                exact=record.backend == "eager",
            ),
            text.error(record.error),
            text.percent(record.error_share),
            text.memory(record.peak_bytes),
            _prepare(record),
        ),
    )


def _prepare(record: Record) -> str:
    """Return seconds with warm caches, and after a slash with empty ones: ``0.41 s``, ``0.41/12
    s``, ``-/12 s``.
    """
    warm, cold = record.prepare_seconds, record.prepare_cold_seconds
    if warm is None and cold is None:
        return ""
    known = "-" if warm is None else text.digits(warm, 2)
    return f"{known} s" if cold is None else f"{known}/{text.digits(cold, 2)} s"


def _fine_line(members: Sequence[Record], words: str) -> str:
    shapes = text.names(dict.fromkeys(record.shape for record in members), most=6)
    shares = [record.error_share for record in members if record.error_share is not None]
    worst = f" (worst {text.percent(max(shares))} of allowed)" if shares else ""
    return f"{words} {shapes}: {counted(len(members), 'cell')} ok{worst}"
