"""The exit status of a session: pytest's own, or ours where the harness alone failed the tests.
Pure; runs in the pytest process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from paritygate.core.reasons import counted
from paritygate.core.record import RED, Status, Verdict


class Exit(IntEnum):
    """Our exit statuses beside pytest's 0 to 5."""

    OK = 0
    FAILED = 1
    PARITY = 10
    REGRESSION = 11
    BROKEN = 12
    INVALID = 13
    NOTHING = 14
    UNDECIDED = 15


WORSE = {
    (Verdict.REGRESSED, Verdict.UNSTABLE): "slower than",
    (Verdict.HEAVIER,): "with more memory than",
    (Verdict.SLOWER_PREPARE,): "slower to prepare than",
    (Verdict.FACT_CHANGED,): "with another fact, which the case keeps, than",
}
DECIDED = (*RED, Verdict.IMPROVED, Verdict.SAME)
# broken here: on base only
UNDECIDED = (Verdict.INCONCLUSIVE, Verdict.NOT_COMPARABLE, Verdict.BROKEN)
BROKEN = (Status.FAILED, Status.CRASHED, Status.TIMED_OUT, Status.OUT_OF_MEMORY)
NOT_COMPARED = (Status.SKIPPED, Status.UNCHECKED)
NO_CELL = "no cell was selected; see --bench-targets, --bench-budget and -k"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one test item of the harness.

    ``judged``: the item failed, and it was the harness's verdict on the cell that failed it.
    ``verdict``: of a comparison. ``not_known``: torch does not report whether the answers are the
    backend's own.
    """

    cell: str
    kind: str  # "parity", "throughput" or "regression"
    status: Status
    judged: bool
    measured: bool
    verdict: str = ""
    not_known: bool = False


@dataclass(frozen=True)
class Settled:
    """The exit status of a session. ``reason``: one line that says why, where the status is one of
    ours.
    """

    status: int
    reason: str = ""


def settle(
    pytest_status: int,
    outcomes: Sequence[Outcome],
    foreign_failures: int,
    *,
    strict: bool,
    timing: bool,
    invalid: bool = False,
    missing: int = 0,
    cells_asked: bool = False,
) -> Settled:
    """Return the exit status of a session and its reason. The first rule below that applies
    decides.

    - ``foreign_failures``: number of failures that are not the harness's.
    - ``timing``: measuring was requested, i.e. not switched off by ``--benchmark-disable`` or the
      like.
    - ``invalid``: the gate's run cannot be trusted.
    - ``missing``: number of cells that base has and head does not have.
    - ``cells_asked``: there were tests of cells, selected or not.
    """
    if pytest_status not in (Exit.OK, Exit.FAILED):
        return Settled(pytest_status)
    if not outcomes:
        none_selected = cells_asked and pytest_status == Exit.OK and not foreign_failures
        return Settled(Exit.NOTHING, NO_CELL) if none_selected else Settled(pytest_status)
    if foreign_failures:
        return Settled(Exit.FAILED)
    failed = [outcome for outcome in outcomes if outcome.judged]
    if wrong := [outcome for outcome in failed if outcome.status is Status.PARITY_FAILED]:
        return Settled(Exit.PARITY, f"{_cells(wrong)} with a wrong answer")
    if changed := [outcome for outcome in failed if outcome.verdict == Verdict.ANSWERS_CHANGED]:
        return Settled(Exit.PARITY, f"{_cells(changed)} with other answers than the other revision")
    if broken := [outcome for outcome in failed if outcome.status in BROKEN]:
        what = "failed, crashed, out of time or out of memory"
        return Settled(Exit.BROKEN, f"{_cells(broken)} broken: {what}")
    if fixed := [outcome for outcome in failed if not outcome.verdict]:
        reason = f"a known failure is fixed in {_cells(fixed)} (--bench-strict); remove it from known_failures"
        return Settled(Exit.PARITY, reason)
    if invalid:
        return Settled(Exit.INVALID, "the gate's run cannot be trusted; the reason is above")
    for verdicts, what in WORSE.items():
        if worse := [outcome for outcome in outcomes if outcome.verdict in verdicts]:
            return Settled(Exit.REGRESSION, f"{_cells(worse)} {what} the other revision")
    if nothing := _nothing(outcomes, timing, missing):
        return Settled(Exit.NOTHING, nothing)
    undecided = [
        one
        for one in outcomes
        if one.status is Status.UNCHECKED or one.verdict in UNDECIDED or one.not_known
    ]
    if strict and undecided:
        reason = f"{_cells(undecided)} could not be checked or decided (--bench-strict)"
        return Settled(Exit.UNDECIDED, reason)
    return Settled(pytest_status)


def _nothing(outcomes: Sequence[Outcome], timing: bool, missing: int) -> str:
    """Return what the session did not do at all: compare, time, or compare by the gate; "" where it
    did each.
    """
    if missing:
        return (
            f"base has {counted(missing, 'cell')} that head lacks; name those "
            "removed on purpose in bench_removed"
        )
    if all(outcome.status in NOT_COMPARED for outcome in outcomes):
        return f"nothing was compared: {_cells(outcomes)}, each skipped or unchecked"
    throughput = [outcome for outcome in outcomes if outcome.kind == "throughput"]
    if timing and throughput and not any(outcome.measured for outcome in throughput):
        return "no cell was timed"
    regression = [outcome for outcome in outcomes if outcome.kind == "regression"]
    if regression and not any(outcome.verdict in DECIDED for outcome in regression):
        if open_ := [one for one in regression if one.verdict == Verdict.INCONCLUSIVE]:
            return f"the gate decided nothing: {_cells(open_)} inconclusive; the reasons are above"
        return "the gate compared no cell with the other revision"
    return ""


def _cells(outcomes: Sequence[Outcome]) -> str:
    """Return the number of different cells in some outcomes, in words."""
    return counted(len({outcome.cell for outcome in outcomes}), "cell")
