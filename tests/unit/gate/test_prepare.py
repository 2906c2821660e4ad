"""Head takes longer to prepare: a verdict where launch pairs are sure of it, a finding where not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from paritygate.core.exitstatus import Exit, Outcome, settle
from paritygate.core.record import Record, Status
from paritygate.gate.acceptance import Accepted
from paritygate.gate.judged import with_prepare
from paritygate.gate.prepare import changed_cold, perhaps_slower, slower
from paritygate.gate.request import Margins

CELL = "a-b8-cpu-eager-fp32"
SAME = Record(CELL, "a", "b8", "cpu", "eager", "fp32", Status.OK, verdict="same")
MARGINS = Margins()


def pairs(*shares, base=1.0):
    return [(base, base * (1 + share)) for share in shares]


def run(*shares, base=1.0, others=8, spread=0.01, seed=0):
    """The pairs of a run: one cell with these changes, and others without a change."""
    rng = np.random.default_rng(seed)
    noise = {f"other{i}": pairs(*rng.normal(0, spread, len(shares))) for i in range(others)}
    return {CELL: pairs(*shares, base=base), **noise}


LONGER = (0.30, 0.33, 0.31)


@pytest.mark.parametrize(
    ("prepared", "is_slower"),
    [
        (run(*LONGER), True),
        (run(*LONGER, others=0), True),
        (run(*LONGER[:2]), False),  # two launch pairs are too few
        (run(0.30, 0.33, 0.05), False),  # one of three is within the margin
        (run(*[0.40] * 5, 0.09), False),  # nor one of six, though the t-test alone is sure
        (run(0.11, 0.30, 0.60, others=0), False),  # too large a spread
        (run(0.09, 0.09, 0.09), False),  # tolerated
        (run(-0.3, -0.3, -0.3), False),  # faster
        (run(*LONGER, base=0.02), False),  # 6 ms
        (run(*[0.3, 0.2, 0.4, 0.25] * 2), True),
        (run(*[0.3, 0.2, 0.4, 0.3] * 3, 0.05), True),  # one disturbed pair of thirteen
        ({}, False),
    ],
)
def test_only_what_is_sure_is_a_verdict(prepared, is_slower):
    assert bool(slower(CELL, prepared, 0.10, 0.01)) is is_slower


def test_the_reason_says_how_much():
    assert slower(CELL, run(*LONGER), 0.10, 0.01).startswith(
        "prepare: 1.00 -> 1.31 s (+31%), more by over the tolerated 10% in 3 launch pairs (p = "
    )


@pytest.mark.parametrize("spread", [0.01, 0.03, 0.1])
@pytest.mark.parametrize("draw", ["normal", "heavy_tails", "slow_launches"])
def test_equal_code_is_hardly_ever_slower(spread, draw):
    """100 runs of 20 cells at the margin itself, where a false answer is most likely."""
    rng = np.random.default_rng(7)
    red = 0
    for _ in range(100):
        d = (
            rng.normal(0, spread, (20, 3))
            if draw == "normal"
            else rng.standard_t(3, (20, 3)) * spread
        )
        if draw == "slow_launches":
            d = d + rng.normal(0, spread, 3)
        prepared = {str(i): [(1.0, 1.1 * np.exp(v)) for v in row] for i, row in enumerate(d)}
        red += any(slower(cell, prepared, 0.10, 0.01) for cell in prepared)
    assert red <= 4  # one is expected, five or more are seen in one test of 300


@pytest.mark.parametrize(("spread", "found"), [(0.02, 19), (0.10, 0)])
def test_a_quarter_more_is_found_where_the_spread_allows(spread, found):
    """In at least 19 of 20 runs of 12 cells at a spread of 2 %."""
    rng = np.random.default_rng(3)
    seen = 0
    for seed in range(20):
        prepared = run(
            *(1.25 * np.exp(rng.normal(0, spread, 3)) - 1), others=11, spread=spread, seed=seed
        )
        seen += bool(slower(CELL, prepared, 0.10, 0.01))
    assert seen >= found


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (pairs(0.3, 0.4), "prepare: 1.00 -> 1.35 s (+35%); 2 launch pairs do not make it certain"),
        (pairs(0.2, 0.2), ""),
        (pairs(0.4, 0.4, base=0.01), ""),
        ([], ""),
    ],
)
def test_what_is_only_likely_is_a_finding(found, line):
    assert perhaps_slower(found, 0.25) == line
    judged = with_prepare(SAME, {CELL: found}, MARGINS, None)
    assert (judged.verdict, judged.findings) == ("same", [line] if line else SAME.findings)


@pytest.mark.parametrize(
    ("base", "head", "line"),
    [
        (10.0, 14.0, "prepare with empty caches: 10.0 -> 14.0 s, seen once"),
        (14.0, 10.0, "prepare with empty caches: 14.0 -> 10.0 s, seen once"),
        (10.0, 12.0, None),
        (None, 14.0, None),
        (10.0, None, None),
    ],
)
def test_compiling_with_empty_caches_is_a_finding(base, head, line):
    assert changed_cold(base, head, 0.25) == line


@pytest.mark.parametrize("verdict", ["same", "improved", "inconclusive"])
def test_it_is_a_verdict_of_its_own_and_status_11(verdict):
    found = with_prepare(replace(SAME, verdict=verdict), run(*LONGER), MARGINS, None)

    assert found.verdict == "slower_prepare"
    assert found.verdict_reason.endswith(")" if verdict == "same" else f"; its time: {verdict}")
    outcome = Outcome(CELL, "regression", Status.OK, True, False, found.verdict)
    settled = settle(1, [outcome], 0, strict=False, timing=True)
    assert settled.status is Exit.REGRESSION
    assert settled.reason == "1 cell slower to prepare than the other revision"


def test_what_is_red_already_keeps_its_verdict_and_says_it_too():
    found = with_prepare(replace(SAME, verdict="regressed"), run(*LONGER), MARGINS, None)

    assert found.verdict == "regressed"
    assert any("prepare: 1.00 -> 1.31 s" in line for line in found.findings)


@pytest.mark.parametrize("verdict", ["broken", "not_comparable"])
def test_what_was_not_compared_is_not_judged(verdict):
    record = replace(SAME, verdict=verdict)

    assert with_prepare(record, run(*LONGER), MARGINS, None) == record


@pytest.mark.parametrize(("share", "verdict"), [(0.5, "same"), (0.15, "slower_prepare")])
def test_what_is_accepted_is_forgiven_and_no_more(share, verdict):
    accepted = Accepted("a-*", share, "packs its weights")
    found = with_prepare(SAME, run(*LONGER), MARGINS, accepted)

    assert found.verdict == verdict
    line = "prepare: accepted up to 50%: packs its weights"
    assert (line in found.findings) is (share == 0.5)
