"""The exit status of a session: pytest's own, and where the failures are the harness's alone, ours. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from bench.record import Status


class Exit(IntEnum):
    """Our statuses beside pytest's 0 to 5; 11 (regression) and 13 (invalid run) belong to the gate."""

    OK = 0
    FAILED = 1
    PARITY = 10
    REGRESSION = 11
    BROKEN = 12
    INVALID = 13
    NOTHING = 14
    UNDECIDED = 15


BROKEN = (Status.FAILED, Status.CRASHED, Status.TIMED_OUT, Status.OUT_OF_MEMORY)


@dataclass(frozen=True)
class Outcome:
    """What one of our items ended with. ``judged``: its failure, if any, is the harness's verdict on the cell."""

    cell: str
    kind: str  # "parity" or "throughput"
    status: Status
    judged: bool  # the item failed, and the harness is who failed it
    measured: bool
    gap_closed: bool = False


def exit_status(
    pytest_status: int, outcomes: Iterable[Outcome], foreign_failures: int, *, strict: bool, timing: bool
) -> int:
    """The session's exit status; the first that applies, in the order of the lines below.

    ``foreign_failures`` counts failures that are not the harness's. ``timing``: measuring was asked for (it
    was not switched off by ``--benchmark-disable`` or its like).
    """
    outcomes = list(outcomes)
    if pytest_status not in (Exit.OK, Exit.FAILED) or not outcomes:
        return pytest_status
    if foreign_failures:
        return Exit.FAILED
    failed = [outcome.status for outcome in outcomes if outcome.judged]
    if Status.PARITY_FAILED in failed:
        return Exit.PARITY
    if any(status in BROKEN for status in failed):
        return Exit.BROKEN
    if failed:  # a gap that closed, under --bench-strict
        return Exit.PARITY
    throughput = [outcome for outcome in outcomes if outcome.kind == "throughput"]
    nothing_measured = timing and throughput and not any(outcome.measured for outcome in throughput)
    if nothing_measured or all(outcome.status is Status.SKIPPED for outcome in outcomes):
        return Exit.NOTHING
    if strict and any(outcome.status is Status.UNCHECKED for outcome in outcomes):
        return Exit.UNDECIDED
    return pytest_status
