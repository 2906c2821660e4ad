"""An accepted slowdown passes, with its reason; a larger one does not."""

from __future__ import annotations

import numpy as np
import pytest

from paritygate.core.case import Case, Cell, Target
from paritygate.core.declaration import DeclarationError
from paritygate.core.record import Verdict
from paritygate.gate import acceptance
from paritygate.gate.acceptance import Accepted, OtherAnswers
from paritygate.gate.request import PROFILES
from paritygate.gate.verdict import Decided, estimate

NORMAL = PROFILES["normal"]


def cell(**more):
    case = Case("bert", model="m:M", inputs="m:i", shapes={"b8": {"batch": 8}}, **more)
    return Cell(case, case.all_shapes()[0], Target("cpu", "eager", "fp32"))


def regressed(size):
    d = np.log1p(size) + 0.001 * np.array([1, -1, 2, -2, 0, 1, -1, 0])
    return Decided(Verdict.REGRESSED, "slower", estimate(d), 0.02), d


def test_trailers_are_read_and_those_that_cannot_be_are_named():
    found = acceptance.parse(
        [
            "bert-*-cpu-* <= 10 % a security fix",
            "bert slower, sorry",
            "x<=2.5% y",
            "bert-* answers the mask was ignored",
            "bert-* memory <= 20 % the mask is kept",
            "bert-* prepare <= 40 % weights are packed",
            "bert-* memory",
            "bert-* answers",
        ]
    )

    assert found.slowdowns == [
        Accepted("bert-*-cpu-*", 0.1, "a security fix"),
        Accepted("x", 0.025, "y"),
    ]
    assert found.answers == [OtherAnswers("bert-*", "the mask was ignored")]
    assert found.memory == [Accepted("bert-*", 0.2, "the mask is kept")]
    assert found.prepare == [Accepted("bert-*", 0.4, "weights are packed")]
    assert found.unread == [
        f"Bench-Accept: {text!r} is not read; write `PATTERN <= 10 % reason`, "
        "`PATTERN memory <= 10 % reason`, `PATTERN prepare <= 10 % reason` or `PATTERN answers reason`"
        for text in ("bert slower, sorry", "bert-* memory", "bert-* answers")
    ]


def test_other_answers_are_accepted_by_cell_and_by_glob_and_not_by_a_slowdown():
    by_name, by_glob = OtherAnswers("bert-b8-cpu-eager-fp32", "why"), OtherAnswers("bert-*", "all")

    assert acceptance.answers_of(cell(), [by_name]) == "why"
    assert acceptance.answers_of(cell(), [by_glob, by_name]) == "all"
    assert acceptance.answers_of(cell(), [OtherAnswers("cnn-*", "no")]) == ""
    assert acceptance.slowdown_of(cell(), []) is None


@pytest.mark.parametrize(
    ("size", "verdict", "said"),
    [
        (0.08, Verdict.SAME, "accepted up to 10%: a fix"),
        (0.10, Verdict.SAME, "accepted up to 10%: a fix"),
        (0.15, Verdict.REGRESSED, "and by more than the accepted 10%"),
    ],
)
def test_up_to_what_is_accepted_it_is_the_same(size, verdict, said):
    found = acceptance.judge(*regressed(size), Accepted("*", 0.1, "a fix"), NORMAL)

    assert found.verdict is verdict
    assert said in found.reason


def test_a_gross_slowdown_is_beyond_what_is_accepted_though_its_pairs_are_few():
    d = np.log1p([0.6, 0.7, 0.65])
    decided = Decided(Verdict.REGRESSED, "slower", estimate(d), float("inf"), gross=True)
    found = acceptance.judge(decided, d, Accepted("*", 0.1, "a fix"), NORMAL)

    assert found.verdict is Verdict.REGRESSED
    assert found.reason == "slower, and by more than the accepted 10%"


def test_nothing_accepted_changes_nothing():
    decided, d = regressed(0.08)
    assert acceptance.judge(decided, d, None, NORMAL) is decided


def test_the_widest_of_those_that_match_counts():
    found = [Accepted("bert-*", 0.05, "a"), Accepted("cnn-*", 0.5, "b")]

    assert acceptance.slowdown_of(cell(), found) == found[0]
    assert acceptance.slowdown_of(cell(tolerated=0.2), found).share == 0.2
    assert acceptance.slowdown_of(cell(), found[1:]) is None


def test_a_tolerance_that_is_no_share_is_refused():
    with pytest.raises(DeclarationError, match="case bert: tolerated=15 must be a share"):
        cell(tolerated=15)
