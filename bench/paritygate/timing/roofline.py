"""What a machine attains, as measured in the same run, and how much of it every cell reaches.

The roofline model (Williams, Waterman and Patterson 2009): a call must compute its floating point
operations and move its bytes, so it takes at least as long as the slower of the two at attainable
speed. Attainable is what the cells of ``bench/suites/test_roofline.py`` reach: a large matrix
product, and a copy. Pure: records in, values out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from paritygate.core.record import Record, Status

GEMM, COPY = "roofline_gemm", "roofline_copy"  # with these the names of the cases begin
COMPUTED_IN = {"amp_bf16": "bf16", "amp_fp16": "fp16"}  # the dtype of the products under autocast


@dataclass(frozen=True)
class Roofs:
    """What is attainable: FLOP/s by device and dtype, bytes/s by device."""

    flops: dict[tuple[str, str], float]
    bytes: dict[str, float]


@dataclass(frozen=True)
class Achieved:
    """What a cell reached: per second, and as a share of the roof, with what it is limited by; None
    where unknown.

    A share above 1 is no error: least bytes that come from a cache come faster than the copy's.
    """

    cell: str
    flops: float | None
    bytes: float | None
    share: float | None
    limit: str | None  # "compute" or "memory"


def roofs(records: Iterable[Record]) -> Roofs:
    """The fastest matrix product of each device and dtype, and the fastest copy of each device."""
    found = Roofs({}, {})
    for record in filter(_timed, records):
        flops, moved = _rates(record)
        if record.case.startswith(GEMM) and flops:
            place = record.device, record.dtype
            found.flops[place] = max(flops, found.flops.get(place, 0.0))
        if record.case.startswith(COPY) and moved:
            found.bytes[record.device] = max(moved, found.bytes.get(record.device, 0.0))
    return found


def achieved(records: Iterable[Record]) -> list[Achieved]:
    """What every timed cell reached whose operations or bytes are known, in the order of the
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
    asked = {
        "compute": (
            flops,
            attainable.flops.get((record.device, COMPUTED_IN.get(record.dtype, record.dtype))),
        ),
        "memory": (moved, attainable.bytes.get(record.device)),
    }
    shares = {}
    for limit, (rate, roof) in asked.items():
        if rate is None or (rate and not roof):  # what is not known may be the limit
            return Achieved(record.cell, flops, moved, None, None)
        shares[limit] = rate / roof if roof else 0.0
    limit = max(shares, key=lambda name: shares[name])
    return Achieved(record.cell, flops, moved, shares[limit], limit)


def _rates(record: Record) -> tuple[float | None, float | None]:
    """FLOP/s and bytes/s at the median; None where not known."""
    seconds, moved = record.latency_p50, record.facts.get("bytes")
    if not seconds:
        return None, None
    return (
        None if record.flops is None else record.flops / seconds,
        None if moved is None else moved / seconds,
    )


def _timed(record: Record) -> bool:
    return record.status is Status.OK and record.measured
