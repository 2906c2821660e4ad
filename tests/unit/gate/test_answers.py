"""Other answers are a verdict of their own, whatever the times are, and a reason forgives them."""

from __future__ import annotations

import pytest

from paritygate.core.record import Record, Status
from paritygate.gate.judged import with_answers

CELL = ("a-b8-cpu-eager-fp32", "a", "b8", "cpu", "eager", "fp32", Status.OK)
WRONG = "output 0: error 0.1"


@pytest.mark.parametrize(
    ("timed", "also"),
    [
        ("same", ""),
        ("inconclusive", "; its time: inconclusive"),
        ("regressed", "; its time: regressed"),
        ("improved", "; its time: improved"),
    ],
)
def test_other_answers_come_before_any_time(timed, also):
    record = with_answers(Record(*CELL, verdict=timed, effect=0.01, findings=["f"]), WRONG, "")

    assert record.verdict == "answers_changed"
    assert record.verdict_reason == f"wrong by base's own reference answers: {WRONG}{also}"
    assert (record.effect, record.findings) == (0.01, ["f"])


def test_what_is_accepted_is_a_finding_and_the_time_decides():
    record = with_answers(Record(*CELL, verdict="regressed", findings=["f"]), WRONG, "a fix")

    assert record.verdict == "regressed"
    assert record.findings == ["f", "answers: accepted: a fix"]


@pytest.mark.parametrize(("verdict", "changed"), [("same", ""), ("broken", WRONG)])
def test_nothing_changes_without_other_answers_or_where_a_side_broke(verdict, changed):
    record = Record(*CELL, verdict=verdict)

    assert with_answers(record, changed, "") == record
    assert with_answers(record, changed, "a fix") == record
