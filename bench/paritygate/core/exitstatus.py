"""The exit status of a session: pytest's own, and where the failures are the harness's alone, ours.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from paritygate.core.record import RED, Status, Verdict


class Exit(IntEnum):
    """Our statuses beside pytest's 0 to 5."""

    OK = 0
    FAILED = 1
    PARITY = 10
    REGRESSION = 11
    BROKEN = 12
    INVALID = 13
    NOTHING = 14
    UNDECIDED = 15


COMPARED = (
    Verdict.REGRESSED,
    Verdict.IMPROVED,
    Verdict.SAME,
    Verdict.UNSTABLE,
    Verdict.INCONCLUSIVE,
)
# broken here: on base only
UNDECIDED = (
    Verdict.INCONCLUSIVE,
    Verdict.NOT_COMPARABLE,
    Verdict.BROKEN,
)
BROKEN = (Status.FAILED, Status.CRASHED, Status.TIMED_OUT, Status.OUT_OF_MEMORY)
NOT_COMPARED = (Status.SKIPPED, Status.UNCHECKED)


@dataclass(frozen=True)
class Outcome:
    """What one of our items ended with. ``judged``: its failure, if any, is the harness's verdict
    on the cell.
    """

    cell: str
    kind: str  # "parity", "throughput" or "regression"
    status: Status
    judged: bool  # the item failed, and the harness is who failed it
    measured: bool
    gap_closed: bool = False
    verdict: str = ""  # of a comparison


def exit_status(
    pytest_status: int,
    outcomes: Iterable[Outcome],
    foreign_failures: int,
    *,
    strict: bool,
    timing: bool,
    invalid: bool = False,
    missing: bool = False,
) -> int:
    """The session's exit status; the first that applies, in the order of the lines below.

    ``foreign_failures`` counts failures that are not the harness's. ``timing``: measuring was asked
    for (it was not switched off by ``--benchmark-disable`` or its like). ``invalid``: the gate's
    run cannot be trusted;
    ``missing``: base has cells that head has not.
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
    # a gap that closed, under --bench-strict
    if any(outcome.judged and not outcome.verdict for outcome in outcomes):
        return Exit.PARITY
    if invalid:
        return Exit.INVALID
    if any(outcome.verdict in RED for outcome in outcomes):
        return Exit.REGRESSION
    if missing or _nothing(outcomes, timing):
        return Exit.NOTHING
    if strict and any(
        outcome.status is Status.UNCHECKED or outcome.verdict in UNDECIDED for outcome in outcomes
    ):
        return Exit.UNDECIDED
    return pytest_status


def _nothing(outcomes: list[Outcome], timing: bool) -> bool:
    """Whether nothing was compared; or nothing measured of what was to be timed; or no revisions by
    a gate.
    """
    regression = [outcome for outcome in outcomes if outcome.kind == "regression"]
    return (
        all(outcome.status in NOT_COMPARED for outcome in outcomes)
        or timing_lost(outcomes, timing)
        or (bool(regression) and not any(outcome.verdict in COMPARED for outcome in regression))
    )


def why(status: int, outcomes: Iterable[Outcome], *, timing: bool, missing: int = 0) -> str | None:
    """One line that says why a session ended with one of our statuses; None for pytest's own.

    ``missing``: how many cells base has that head has not. The cells themselves stand above it.
    """
    outcomes = list(outcomes)
    cells = len({outcome.cell for outcome in outcomes})

    def count(*statuses: Status) -> int:
        return len(
            {outcome.cell for outcome in outcomes if outcome.judged and outcome.status in statuses}
        )

    if status == Exit.PARITY:
        wrong = count(Status.PARITY_FAILED)
        return (
            f"{_cells(wrong)} with a wrong answer"
            if wrong
            else "a known gap has closed (--bench-strict)"
        )
    if status == Exit.REGRESSION:
        slower = len({outcome.cell for outcome in outcomes if outcome.verdict in RED})
        return (
            f"{_cells(slower)} slower than the other revision"
            if slower
            else "slower than --bench-baseline"
        )
    if status == Exit.BROKEN:
        return f"{_cells(count(*BROKEN))} broken: failed, crashed, out of time or out of memory"
    if status == Exit.INVALID:
        return "the gate's run cannot be trusted; it says above why"
    if status == Exit.NOTHING:
        if missing:
            return f"base has {_cells(missing)} that head lacks; name those given up on purpose in bench_removed"
        if not outcomes:
            return "no cell was selected; see --bench-targets, --bench-budget and -k"
        if all(outcome.status in NOT_COMPARED for outcome in outcomes):
            return f"nothing was compared: {_cells(cells)}, each skipped or unchecked"
        if any(outcome.kind == "regression" for outcome in outcomes) and not timing_lost(
            outcomes, timing
        ):
            return "the gate compared no cell with the other revision"
        return "nothing was timed of what was to be timed"
    if status == Exit.UNDECIDED:
        return "something could not be checked or decided (--bench-strict)"
    return None


def timing_lost(outcomes: Sequence[Outcome], timing: bool) -> bool:
    """Whether cells were to be timed and none was."""
    throughput = [outcome for outcome in outcomes if outcome.kind == "throughput"]
    return timing and bool(throughput) and not any(outcome.measured for outcome in throughput)


def _cells(number: int) -> str:
    return f"{number} cell{'' if number == 1 else 's'}"
