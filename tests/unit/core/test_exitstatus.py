"""The exit status of a session, walked row by row."""

import itertools

import pytest

from paritygate.core.exitstatus import BROKEN, Exit, Outcome, settle
from paritygate.core.record import Status, Verdict

OK = Outcome("a", "parity", Status.OK, judged=False, measured=False)
TIMED = Outcome("a", "throughput", Status.OK, judged=False, measured=True)
UNTIMED = Outcome("a", "throughput", Status.OK, judged=False, measured=False)


def ended(status, *, judged=True, kind="parity"):
    return Outcome("b", kind, status, judged=judged, measured=False)


WRONG, SKIPPED = ended(Status.PARITY_FAILED), ended(Status.SKIPPED, judged=False)
UNCHECKED, FIXED = ended(Status.UNCHECKED, judged=False), ended(Status.OK)


def status(*outcomes, pytest_status=None, foreign=0, strict=False, timing=True):
    if pytest_status is None:
        pytest_status = int(foreign > 0 or any(outcome.judged for outcome in outcomes))
    return settle(pytest_status, outcomes, foreign, strict=strict, timing=timing).status


@pytest.mark.parametrize(
    ("outcomes", "wanted"),
    [
        ([OK, TIMED], Exit.OK),
        ([OK], Exit.OK),
        ([OK, TIMED, WRONG], Exit.PARITY),
        *(([OK, TIMED, ended(broken)], Exit.BROKEN) for broken in BROKEN),
        ([OK, WRONG, ended(Status.CRASHED)], Exit.PARITY),
        ([OK, FIXED], Exit.PARITY),
        ([SKIPPED], Exit.NOTHING),
        ([UNCHECKED], Exit.NOTHING),
        ([UNCHECKED, SKIPPED], Exit.NOTHING),
        ([UNCHECKED, ended(Status.UNCHECKED, judged=False, kind="throughput")], Exit.NOTHING),
        ([UNCHECKED, OK], Exit.OK),
        (
            [UNCHECKED, ended(Status.PARITY_FAILED, judged=False)],
            Exit.OK,
        ),  # a known failure was compared
        ([UNCHECKED, WRONG], Exit.PARITY),
        ([OK, UNTIMED], Exit.NOTHING),
        ([SKIPPED, TIMED], Exit.OK),
        ([UNCHECKED, TIMED], Exit.OK),
    ],
)
def test_what_happened_decides_in_any_order(outcomes, wanted):
    assert {status(*order) for order in itertools.permutations(outcomes)} == {wanted}


def compared(verdict, *, judged=False, status=Status.OK):
    return Outcome("c", "regression", status, judged=judged, measured=True, verdict=str(verdict))


SAME, SLOWER = compared(Verdict.SAME), compared(Verdict.REGRESSED, judged=True)
OTHER = compared(Verdict.ANSWERS_CHANGED, judged=True)
OPEN, APART = compared(Verdict.INCONCLUSIVE), compared(Verdict.NOT_COMPARABLE)


@pytest.mark.parametrize(
    ("outcomes", "more", "wanted"),
    [
        ([OK, SAME, compared(Verdict.IMPROVED)], {}, Exit.OK),
        ([OK, SAME, SLOWER], {}, Exit.REGRESSION),
        ([SAME, compared(Verdict.UNSTABLE, judged=True)], {}, Exit.REGRESSION),
        ([SAME, OPEN], {}, Exit.OK),
        ([SAME, OPEN], {"strict": True}, Exit.UNDECIDED),
        ([SAME, APART], {}, Exit.OK),
        ([SAME, APART], {"strict": True}, Exit.UNDECIDED),
        ([APART], {}, Exit.NOTHING),
        ([OPEN], {}, Exit.NOTHING),
        ([OPEN, APART], {"strict": True}, Exit.NOTHING),
        ([SAME, compared(Verdict.BROKEN)], {"strict": True}, Exit.UNDECIDED),  # on base only
        ([SAME, compared(Verdict.BROKEN, judged=True, status=Status.CRASHED)], {}, Exit.BROKEN),
        ([SAME, SLOWER, WRONG], {}, Exit.PARITY),
        ([SAME, SLOWER, OTHER], {}, Exit.PARITY),
        ([OTHER], {"invalid": True}, Exit.PARITY),
        ([SAME, SLOWER], {"invalid": True}, Exit.INVALID),
        ([SAME, WRONG], {"invalid": True}, Exit.PARITY),  # certain whatever the timing
        ([SAME], {"missing": True}, Exit.NOTHING),
        ([SAME, SLOWER], {"missing": True}, Exit.REGRESSION),
    ],
)
def test_what_a_gate_ended_with_decides_in_any_order(outcomes, more, wanted):
    for order in itertools.permutations(outcomes):
        failed = int(any(outcome.judged for outcome in order))
        given = {"strict": False, "timing": True} | more
        assert settle(failed, order, 0, **given).status == wanted


def test_unchecked_ends_with_15_only_when_strict():
    assert status(OK, TIMED, UNCHECKED, strict=True) is Exit.UNDECIDED
    assert status(OK, TIMED, UNCHECKED) == Exit.OK


@pytest.mark.parametrize("own", [2, 3, 4, 5])
def test_pytests_own_errors_come_first(own):
    assert status(OK, WRONG, pytest_status=own, foreign=1) == own


def test_a_failure_that_is_not_ours_comes_before_ours():
    assert status(OK, WRONG, foreign=1) == Exit.FAILED


def test_nothing_of_ours_leaves_pytests_status_alone():
    assert status(pytest_status=0) == 0
    assert status(pytest_status=1, foreign=1) == 1


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("timing", [False, True])
def test_where_nothing_was_compared_the_end_is_14_whatever_was_asked_for(strict, timing):
    assert status(UNCHECKED, SKIPPED, strict=strict, timing=timing) is Exit.NOTHING


def test_where_timing_was_switched_off_nothing_measured_is_in_order():
    assert status(OK, UNTIMED, timing=False) == Exit.OK


def test_a_failure_that_was_declared_is_none():
    assert status(OK, TIMED, ended(Status.PARITY_FAILED, judged=False)) == Exit.OK


def test_our_statuses_are_none_of_pytests():
    assert {exit.value for exit in Exit} & {2, 3, 4, 5} == set()


@pytest.mark.parametrize(
    ("outcomes", "more", "line"),
    [
        ([OK, WRONG], {}, "1 cell with a wrong answer"),
        (
            [OK, ended(Status.CRASHED)],
            {},
            "1 cell broken: failed, crashed, out of time or out of memory",
        ),
        ([SLOWER], {}, "1 cell slower than the other revision"),
        ([OTHER, SLOWER], {}, "1 cell with other answers than the other revision"),
        ([SKIPPED, UNCHECKED], {}, "nothing was compared: 1 cell, each skipped or unchecked"),
        ([OK, UNTIMED], {}, "no cell was timed"),
        ([APART], {}, "the gate compared no cell with the other revision"),
        (
            [OPEN, APART],
            {},
            "the gate decided nothing: 1 cell inconclusive; the reasons are above",
        ),
        (
            [SAME],
            {"missing": 2},
            "base has 2 cells that head lacks; name those removed on purpose in bench_removed",
        ),
    ],
)
def test_one_line_says_why(outcomes, more, line):
    failed = int(any(outcome.judged for outcome in outcomes))
    settled = settle(failed, outcomes, 0, **{"strict": False, "timing": True} | more)

    assert settled.status >= Exit.PARITY
    assert settled.reason == line


def test_a_status_of_pytests_needs_no_words_of_ours():
    for outcomes, foreign in (([OK], 0), ([OK], 1), ([], 0), ([WRONG], 1)):
        assert settle(1, outcomes, foreign, strict=True, timing=True).reason == ""


def test_tests_of_cells_of_which_none_was_selected_are_no_success():
    given = {"strict": False, "timing": True, "cells_asked": True}

    assert settle(0, [], 0, **given).status == Exit.NOTHING
    assert settle(0, [], 1, **given).status == Exit.OK, "something that was not ours failed once"
    assert settle(0, [], 0, **given | {"cells_asked": False}).status == Exit.OK
    assert settle(5, [], 0, **given).status == 5
