"""Roofline: the attainable speed of a machine, measured in the same run, and the share of it that
each cell reaches.

The roofline model (Williams, Waterman and Patterson 2009): a call must compute its floating point
operations and move its bytes. So it takes at least as long as the slower of the two at attainable
speed. The attainable speed is that of the cells of ``bench/suites/test_roofline.py``: a large
matrix product, and a copy. Pure: records in, values out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from paritygate.core.record import Record, Status

GEMM, COPY = "roofline_gemm", "roofline_copy"  # prefixes of the names of the cases
COMPUTED_IN = {"amp_bf16": "bf16", "amp_fp16": "fp16"}  # the dtype of the products under autocast


@dataclass(frozen=True)
class Roofs:
    """Attainable speeds: FLOP/s by device and dtype, bytes/s by device."""

    flops: dict[tuple[str, str], float]
    bytes: dict[str, float]


@dataclass(frozen=True)
class Achieved:
    """The speed of a cell: per second, as a share of the roof, and the resource that limits it.
    None where unknown.

    A share above 1 is no error: data that comes from a cache arrives faster than the copy's data
    from memory.
    """

    cell: str
    flops: float | None
    bytes: float | None
    share: float | None
    limit: str | None  # "compute" or "memory"


def roofs(records: Iterable[Record]) -> Roofs:
    """Return the fastest matrix product of each device and dtype, and the fastest copy of each
    device.
    """
    fastest = Roofs({}, {})
    for record in filter(_timed, records):
        flops, moved = _rates(record)
        if record.case.startswith(GEMM) and flops:
            place = record.device, record.dtype
            fastest.flops[place] = max(flops, fastest.flops.get(place, 0.0))
        if record.case.startswith(COPY) and moved:
            fastest.bytes[record.device] = max(moved, fastest.bytes.get(record.device, 0.0))
    return fastest


def achieved(records: Iterable[Record]) -> list[Achieved]:
    """Return the speed of every timed cell whose operations or bytes are known, in the order of the
    records.
    """
    records = list(records)
    attainable = roofs(records)
    return [
        _achieved(record, attainable)
        for record in records
        if _timed(record) and any(_rates(record))
    ]


def _achieved(record: Record, attainable: Roofs) -> Achieved:
    flops, moved = _rates(record)
    rates = {
        "compute": (
            flops,
            attainable.flops.get((record.device, COMPUTED_IN.get(record.dtype, record.dtype))),
        ),
        "memory": (moved, attainable.bytes.get(record.device)),
    }
    shares = {}
    for limit, (rate, roof) in rates.items():
        if rate is None or (rate and not roof):  # an unknown rate may be the limit
            return Achieved(record.cell, flops, moved, None, None)
        shares[limit] = rate / roof if roof else 0.0
    limit = max(shares, key=lambda name: shares[name])
    return Achieved(record.cell, flops, moved, shares[limit], limit)


def _rates(record: Record) -> tuple[float | None, float | None]:
    """Return FLOP/s and bytes/s at the median latency; None where not known."""
    seconds, moved = record.latency_p50, record.facts.get("bytes")
    if not seconds:
        return None, None
    return (
        None if record.flops is None else record.flops / seconds,
        None if moved is None else moved / seconds,
    )


def _timed(record: Record) -> bool:
    return record.status is Status.OK and record.measured
