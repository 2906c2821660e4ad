"""The course of a gate: which cells are wanted, in which stage, and what is said when it ends
early.
"""

from __future__ import annotations

import math

import pytest

from paritygate.core.record import Verdict
from paritygate.gate.request import PROFILES
from paritygate.gate.stages import Course, Pair

NORMAL = PROFILES["normal"]


def note(course, **d):
    course.note({name: Pair(value, 0.001) for name, value in d.items()})


def wiggle(n):
    return 0.0005 * (-1) ** n


def test_same_cells_leave_and_others_get_fresh_launches_together():
    course = Course(["same", "slow", "fast"], NORMAL)
    for n in range(3):
        note(course, same=wiggle(n), slow=0.1 + wiggle(n), fast=-0.1 + wiggle(n))
    assert course.wanted() == ["slow", "fast"]
    assert course.stage == 1
    note(course, slow=0.1, fast=-0.1)
    assert (course.stage, course.wanted()) == (2, ["slow", "fast"])

    launches = 0
    while course.wanted():
        note(
            course,
            **{
                name: (0.1 if name == "slow" else -0.1) + wiggle(launches)
                for name in course.wanted()
            },
        )
        launches += 1
    found = course.verdicts()

    assert launches == 9  # the first look for two cells
    assert {name: decided.verdict for name, decided in found.items()} == {
        "same": Verdict.SAME,
        "slow": Verdict.REGRESSED,
        "fast": Verdict.IMPROVED,
    }
    assert found["slow"].estimate.launches == 9  # those of stage 1 are not among them
    assert found["slow"].estimate.effect == pytest.approx(0.105, abs=0.002)


def test_a_course_that_ends_early_is_inconclusive_and_promises_nothing():
    course = Course(["a"], NORMAL)
    note(course, a=0.02)
    note(course, a=-0.02)
    decided = course.verdicts()["a"]

    assert decided.verdict is Verdict.INCONCLUSIVE
    assert decided.reason.startswith("the time was up after 2 launch pairs; ")
    assert decided.detectable == float("inf")  # that of the last look, which it did not reach


def test_a_cell_that_twenty_pairs_leave_open_says_what_would_have_been_found():
    course = Course(["a"], NORMAL)
    while course.wanted():
        launches = sum(map(len, (course.screened["a"], course.confirmed.get("a", ()))))
        note(course, a=0.02 + 0.02 * (launches % 3 - 1))
    decided = course.verdicts()["a"]

    assert decided.verdict is Verdict.INCONCLUSIVE
    assert decided.reason.startswith("20 launch pairs do not decide; a slowdown of 3.")
    assert f"{decided.detectable:.1%}" in decided.reason


def test_a_gross_change_is_decided_at_once_and_the_others_go_on():
    course = Course(["same", "slow", "fast"], NORMAL)
    for n in range(2):
        note(course, same=wiggle(n), slow=0.5 + wiggle(n), fast=-0.5 + wiggle(n))
    assert course.wanted() == ["same", "slow", "fast"]  # three cells need three pairs
    note(course, same=0.0, slow=0.5, fast=-0.5)
    found = course.verdicts()

    assert course.wanted() == []
    assert {name: decided.verdict for name, decided in found.items()} == {
        "same": Verdict.SAME,
        "slow": Verdict.REGRESSED,
        "fast": Verdict.IMPROVED,
    }
    assert 0 < found["slow"].estimate.low < found["slow"].estimate.effect
    assert found["fast"].estimate.effect < found["fast"].estimate.high < 0
    assert found["slow"].reason == "slower in each of 3 launch pairs, by 65% or more"
    assert found["fast"].reason == "faster in each of 3 launch pairs, by 39% or more"


def test_a_course_that_ends_before_it_began_has_no_verdict():
    assert Course(["a", "b"], NORMAL).verdicts() == {}


def test_the_interval_of_two_wide_pairs_is_on_the_side_of_their_verdict():
    course = Course(["slow"], NORMAL)
    note(course, slow=0.29)
    note(course, slow=0.80)
    decided = course.verdicts()["slow"]

    assert decided.verdict is Verdict.REGRESSED
    assert decided.estimate.low == pytest.approx(math.exp(0.29) / 1.3 - 1)
    assert decided.estimate.high == pytest.approx(math.exp(0.80) * 1.3 - 1)


def test_a_dropped_cell_is_wanted_no_more_and_gets_no_verdict():
    course = Course(["a", "b"], NORMAL)
    note(course, a=0.0, b=0.0)
    course.drop("a", "crashed")

    assert course.wanted() == ["b"]
    assert "a" not in course.verdicts()


def test_dropping_the_last_one_undecided_lets_the_routed_go_on():
    course = Course(["slow", "wild"], NORMAL)
    for n in range(4):
        note(course, slow=0.1 + wiggle(n), wild=0.03 * (-1) ** n)
    assert course.wanted() == ["wild"]
    course.drop("wild", "crashed")

    assert (course.stage, course.wanted()) == (2, ["slow"])


def test_a_cell_that_breaks_while_it_is_confirmed_leaves_the_others_to_go_on():
    course = Course(["breaks", "slow"], NORMAL)
    for n in range(4):
        note(course, breaks=0.1 + wiggle(n), slow=0.1 + wiggle(n))
    note(course, breaks=0.1, slow=0.1)
    course.drop("breaks", "crashed")

    launches = 1
    while course.wanted():
        note(course, slow=0.1 + wiggle(launches))
        launches += 1
        assert launches <= 20
    assert launches == 9  # the family is still one of two
    assert {name: found.verdict for name, found in course.verdicts().items()} == {
        "slow": Verdict.REGRESSED
    }


def test_a_launch_pair_must_hold_what_was_wanted():
    with pytest.raises(ValueError, match="must hold"):
        note(Course(["a", "b"], NORMAL), a=0.0)


def test_a_slow_mode_of_head_is_unstable_and_one_of_base_is_not():
    def verdict_of(sign):
        course = Course(["a"], NORMAL)
        n = 0
        while course.wanted():
            # in the mean too little to be red
            note(course, a=sign * (0.035 if n % 2 else 0.0) + wiggle(n))
            n += 1
        return course.verdicts()["a"]

    assert verdict_of(1).verdict is Verdict.UNSTABLE
    assert "slower in 10 of 20 launches, base never" in verdict_of(1).reason
    assert verdict_of(-1).verdict is Verdict.SAME
