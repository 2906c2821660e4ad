"""The decision, piece by piece: quads, tests, looks, modes. Its behaviour as a whole is in
test_simulation.py.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from paritygate.core.record import Verdict
from paritygate.gate import quads, verdict
from paritygate.gate.request import PROFILES, Margins
from paritygate.gate.verdict import Screened

NORMAL = PROFILES["normal"]


@pytest.mark.parametrize("order", quads.ORDERS)
def test_linear_drift_cancels_in_a_quad(order):
    clock = dict(zip(range(4), np.exp(0.01 * np.arange(4)), strict=True))
    base = [clock[place] for place, side in enumerate(order) if side == "A"]
    head = [1.05 * clock[place] for place, side in enumerate(order) if side == "B"]

    assert quads.quad(base, head) == pytest.approx(np.log(1.05), abs=1e-12)


def test_the_mean_of_four_quads_is_trimmed_too():
    assert quads.trimmed_mean([0.0, 0.0, 0.0, 1.0]) == pytest.approx(0.2 / 2.4)
    assert quads.trimmed_mean([0, 0, 0, 0, 9]) == 0.0
    values = np.random.default_rng(0).normal(size=(3, 10))
    assert np.allclose(quads.trimmed_mean(values), stats.trim_mean(values, 0.2, axis=1))


def test_a_launch_stops_by_spread_and_never_by_sign():
    calm, wild = np.tile([0.05, 0.051], quads.FEWEST), np.tile([0.0, 0.02, -0.02, 0.01], quads.MOST)

    assert quads.enough(calm[: quads.FEWEST])
    assert quads.enough(-calm[: quads.FEWEST])
    assert not quads.enough(calm[: quads.FEWEST - 1])
    assert not quads.enough(wild[: quads.FEWEST])
    assert quads.enough(wild[: quads.MOST])  # enough is enough, however wild


def test_the_sign_flip_test_counts_all_signs():
    x = np.array([0.3, -0.1, 0.4, 0.2, 0.05])
    by_hand = np.mean(
        [
            np.dot(signs, np.abs(x)) >= x.sum() - 1e-12
            for signs in itertools.product((1, -1), repeat=5)
        ]
    )

    assert verdict.sign_flip(x) == by_hand
    assert verdict.sign_flip(np.ones(8)) == 2**-8
    assert verdict.sign_flip(-np.ones(8)) == 1.0


def test_both_tests_must_reject():
    steady = np.full(8, 0.05) + np.linspace(0, 1e-4, 8)

    # Student's t alone would say less than 1e-20
    assert verdict.p_slower(steady, NORMAL.low) == 2**-8
    assert verdict.p_slower(-steady, NORMAL.low) > 0.99


@pytest.mark.parametrize(("cells", "first"), [(1, 8), (2, 9), (4, 10), (20, 13), (100, 15)])
def test_the_first_look_is_the_earliest_at_which_the_sign_flip_test_can_reject(cells, first):
    schedule = verdict.looks(cells, NORMAL)

    assert min(schedule) == first
    assert 2.0**-first <= schedule[first] / cells < 2.0 ** -(first - 1)
    assert sum(schedule.values()) == pytest.approx(
        NORMAL.alpha * (1 - verdict.MODE_SHARE - verdict.GROSS_SHARE)
    )
    assert max(schedule) == 20


def test_holm_rejects_step_by_step():
    assert verdict.holm({"a": 0.001, "b": 0.004, "c": 0.5}, 0.01) == {"a", "b"}
    # the smallest misses 0.01/3
    assert verdict.holm({"a": 0.004, "b": 0.004, "c": 0.5}, 0.01) == set()


@pytest.mark.parametrize(
    ("d", "wanted"),
    [
        ([0.0, 0.001, -0.001], Screened.SAME),
        ([0.0, 0.02, -0.02], Screened.MORE),
        ([0.05, 0.051, 0.049], Screened.MORE),  # the first look for routing is the fourth launch
        ([0.05, 0.051, 0.049, 0.05], Screened.ROUTED),
        ([-0.05, -0.051, -0.049, -0.05], Screened.ROUTED),
        ([0.0, 0.05, -0.05, 0.05, -0.05, 0.0], Screened.ROUTED),  # undecided at the last look
        ([0.0, 0.0], Screened.MORE),
    ],
)
def test_a_screen_ends_in_one_of_three_ways(d, wanted):
    assert verdict.screen(np.array([d]), NORMAL).tolist() == [wanted]


def test_cells_that_are_alike_lend_each_other_what_they_know_of_spread():
    rng = np.random.default_rng(1)
    alike, unlike = (
        rng.normal(0, 0.01, (60, 3)),
        rng.normal(0, 0.01, (60, 3)) * np.exp(rng.normal(0, 2, (60, 1))),
    )

    found = verdict.shared(list(alike))
    assert found.freedom == verdict.MOST_SHARED
    assert found.variance == pytest.approx(0.01**2, rel=0.3)
    assert verdict.shared(list(unlike)).freedom < 1.5
    variance, freedom = found.moderate(0.0, 3)
    assert (variance / found.variance, freedom) == (pytest.approx(0.8), 10)
    # cells may have launched differently often
    longer = verdict.shared([*alike[:30], *rng.normal(0, 0.01, (30, 6))])
    assert longer.variance == pytest.approx(0.01**2, rel=0.3)


@pytest.mark.parametrize("d", [[], [[0.0, 0.01], [0.01, 0.0]], [[0.01, 0.01, 0.01]] * 9])
def test_a_cell_stands_alone_where_others_tell_nothing(d):
    assert verdict.shared(d) == verdict.ALONE
    assert verdict.estimate([0.0, 0.01], verdict.ALONE) == verdict.estimate([0.0, 0.01])


def test_a_slow_mode_is_a_heap_of_its_own():
    assert verdict.slow_modes([0.0, 0.001, 0.06, 0.0, 0.061], 0.001, NORMAL)[:2] == (2, 0)
    assert verdict.slow_modes([0.0, 0.001, -0.06, 0.0], 0.001, NORMAL)[:2] == (0, 1)
    # no gap: no heap
    assert verdict.slow_modes([0.0, 0.01, 0.02, 0.03, 0.04], 0.001, NORMAL)[:2] == (
        0,
        0,
    )
    # within what launches spread
    assert verdict.slow_modes([0.0, 0.001, 0.06, 0.0], 0.03, NORMAL)[:2] == (
        0,
        0,
    )


def test_what_would_have_been_found_grows_with_the_spread_and_falls_with_the_tolerance():
    sizes = [verdict.detectable(sd, NORMAL) for sd in (0.002, 0.005, 0.01, 0.02)]

    assert sizes == sorted(sizes)
    assert verdict.detectable(0.005, PROFILES["strict"]) < sizes[1]


@pytest.mark.parametrize("wrong", [(0.03, 0.01, 0.01), (0.0, 0.03, 0.01), (0.01, 0.03, 1.0)])
def test_margins_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="tolerated < caught"):
        Margins(*wrong)


def test_a_confirmation_says_slower_faster_and_same():
    rng = np.random.default_rng(0)
    d = {
        name: rng.normal(mean, 0.002, 20)
        for name, mean in (("up", 0.05), ("down", -0.05), ("flat", 0.0))
    }
    confirmation = verdict.Confirmation(list(d), NORMAL)
    for n in range(1, 21):
        if confirmation.open:
            confirmation.look({name: values[:n] for name, values in d.items()})

    found = {name: outcome for name, (outcome, _) in confirmation.decided.items()}
    assert found == {"up": Verdict.REGRESSED, "down": Verdict.IMPROVED, "flat": Verdict.SAME}
    assert "slower by more than the tolerated 1.0%" in confirmation.decided["up"][1]
