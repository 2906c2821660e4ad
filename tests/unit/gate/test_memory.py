"""Head is heavier where every launch pair says so, by more than is tolerated or accepted. A fact that
a case keeps may not change.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from paritygate.core.exitstatus import Exit, Outcome, settle
from paritygate.core.record import Record, Status
from paritygate.gate.acceptance import Accepted
from paritygate.gate.judged import with_kept, with_memory
from paritygate.gate.memory import heavier

MIB = 2**20
SAME = Record("a-b8-cpu-eager-fp32", "a", "b8", "cpu", "eager", "fp32", Status.OK, verdict="same")


def peaks(*pairs):
    return [(int(base * MIB), int(head * MIB)) for base, head in pairs]


MORE = peaks((100, 112), (101, 110), (99, 111))


@pytest.mark.parametrize(
    ("found", "is_heavier"),
    [
        (MORE, True),
        (MORE[:2], True),
        (MORE[:1], False),
        ([], False),
        (peaks((100, 112), (101, 110), (99, 101)), False),
        (peaks((112, 100), (110, 101)), False),
        (peaks((100, 104.9), (100, 104.9)), False),
        (peaks((10, 11.9), (10, 11.9)), False),  # chance: threads ask for some MiB
        (peaks((10, 12.1), (10, 12.1)), True),
        (peaks((0, 5), (0, 5)), True),
    ],
)
def test_every_launch_pair_must_show_it(found, is_heavier):
    assert bool(heavier(found, 0.05)) is is_heavier


def test_the_reason_says_how_much():
    assert heavier(MORE, 0.05) == (
        "more memory in each of 3 launch pairs, by more than the tolerated 5%: "
        "peak 100.0 -> 111.0 MiB (+11%)"
    )
    assert "peak 0.0 -> 5.0 MiB" in heavier(peaks((0, 5), (0, 5)), 0.05)


@pytest.mark.parametrize("verdict", ["same", "improved", "inconclusive"])
def test_it_is_a_verdict_of_its_own(verdict):
    found = with_memory(replace(SAME, verdict=verdict), MORE, 0.05, None)

    assert found.verdict == "heavier"
    assert found.verdict_reason.endswith(
        "(+11%)" if verdict == "same" else f"; its time: {verdict}"
    )


@pytest.mark.parametrize("verdict", ["regressed", "unstable", "answers_changed"])
def test_what_is_red_already_keeps_its_verdict_and_says_it_too(verdict):
    found = with_memory(replace(SAME, verdict=verdict), MORE, 0.05, None)

    assert found.verdict == verdict
    assert any("more memory in each of 3" in line for line in found.findings)


@pytest.mark.parametrize("verdict", ["broken", "not_comparable"])
def test_what_was_not_compared_is_not_judged(verdict):
    record = replace(SAME, verdict=verdict)

    assert with_memory(record, MORE, 0.05, None) == record


@pytest.mark.parametrize(
    ("share", "verdict", "told"),
    [
        (0.2, "same", "memory: accepted up to 20%: a cache"),
        (0.07, "heavier", "by more than the tolerated 7%"),
        (0.01, "heavier", "by more than the tolerated 5%"),
    ],
)
def test_a_growth_that_is_meant_passes_up_to_its_size(share, verdict, told):
    found = with_memory(SAME, MORE, 0.05, Accepted("a-*", share, "a cache"))

    assert found.verdict == verdict
    assert told in "\n".join([found.verdict_reason, *found.findings])


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        (["heavier"], "1 cell with more memory than the other revision"),
        (["heavier", "regressed"], "1 cell slower than the other revision"),
        (
            ["fact_changed"],
            "1 cell with another fact, which the case keeps, than the other revision",
        ),
    ],
)
def test_a_session_with_a_worse_cell_ends_with_11(verdicts, reason):
    outcomes = [
        Outcome(verdict, "regression", Status.OK, True, False, verdict) for verdict in verdicts
    ]
    settled = settle(1, outcomes, 0, strict=False, timing=True)

    assert (settled.status, settled.reason) == (Exit.REGRESSION, reason)


def test_a_kept_fact_that_changed_is_a_verdict_and_stands_beside_a_red_one():
    changed = ["fusions: Gelu 1 -> 0"]

    assert with_kept(SAME, []) == SAME
    found = with_kept(SAME, changed)
    assert found.verdict == "fact_changed"
    assert found.verdict_reason.endswith("it is another: fusions: Gelu 1 -> 0")
    red = with_kept(replace(SAME, verdict="regressed"), changed)
    assert (red.verdict, len(red.findings)) == ("regressed", 1)
    assert with_kept(replace(SAME, verdict="broken"), changed).verdict == "broken"
