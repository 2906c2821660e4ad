"""The gate's decision on simulated machines: false alarms, power, and what must not change a
verdict.

Runs the gate's own arithmetic and course on noise made at the level of blocks (``tests/support/noise.py``);
seeds are fixed.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from paritygate.core.record import RED, Verdict
from paritygate.gate import validity
from paritygate.gate.quads import quad
from paritygate.gate.request import PROFILES, Margins
from paritygate.gate.stages import Course, Pair
from paritygate.gate.verdict import estimate
from tests.support import noise

RUNS, CELLS = 300, 100
NORMAL = PROFILES["normal"]


def gate(d, within, make, margins: Margins = NORMAL) -> Course:
    """One run: stage 1 takes from ``d`` (cells x launches), stage 2 from what ``make(cells,
    launches)`` gives.
    """
    names = [str(number) for number in range(d.shape[0])]
    course = Course(names, margins)
    launch, fresh = 0, None
    while wanted := course.wanted():
        if course.stage == 2 and fresh is None:
            places = [int(name) for name in wanted]
            fresh, launch = dict(zip(wanted, zip(*make(places), strict=True), strict=True)), 0
        source = (
            (lambda name: (d[int(name)], within[int(name)])) if fresh is None else fresh.__getitem__
        )
        course.note(
            {name: Pair(source(name)[0][launch], source(name)[1][launch]) for name in wanted}
        )
        launch += 1
    return course


def runs(what, seed, effect=0.0, count=RUNS, cells=CELLS, margins=NORMAL):
    """The verdicts of many runs, a list of one per run: cell number -> Decided."""
    rng = np.random.default_rng(seed)
    d, within = noise.launch_values(what, rng, (count, cells, 6), _spread(effect))
    found = []
    for run in range(count):

        def make(places):
            values = noise.launch_values(what, rng, (1, len(places), 20), _spread(effect, places))
            return values[0][0], values[1][0]

        found.append(gate(d[run], within[run], make, margins).verdicts())
    return found


def _spread(effect, places=None):
    """An effect for all cells, or for some: (cells,) -> (1, cells, 1)."""
    if np.isscalar(effect):
        return effect
    return (
        np.asarray(effect)[None, :, None]
        if places is None
        else np.asarray(effect)[places][None, :, None]
    )


def reds(found) -> int:
    return sum(any(decided.verdict in RED for decided in run.values()) for run in found)


@pytest.mark.parametrize("name", noise.AA)
def test_no_false_red_on_unchanged_code(name):
    assert reds(runs(noise.AA[name], seed=1)) == 0


def test_no_false_red_when_every_cell_is_slower_by_exactly_what_is_tolerated():
    found = runs(noise.process(0.008), seed=2, effect=np.log1p(NORMAL.tolerated))

    assert reds(found) <= 8  # alpha is 1 % of 300 runs; more than 8 has a chance of 0.4 %


@pytest.mark.parametrize("sd", [0.003, 0.005, 0.008, 0.01])
def test_three_percent_is_found_where_launch_pairs_spread_by_one_percent_or_less(sd):
    outcome = planted(sd, 0.03)

    assert outcome[Verdict.REGRESSED] >= 0.95
    assert outcome[Verdict.IMPROVED] == 0


def test_five_percent_is_found_where_launch_pairs_spread_by_two_percent():
    assert planted(0.02, 0.05)[Verdict.REGRESSED] >= 0.98


@pytest.mark.parametrize(("sd", "cells"), [(0.005, 100), (0.02, 100), (0.05, 20)])
def test_a_gross_slowdown_is_decided_by_three_launch_pairs(sd, cells):
    effect = np.zeros(cells)
    effect[7] = np.log1p(0.5)
    found = runs(noise.process(sd), seed=14, effect=effect, cells=cells)
    early = [run["7"].verdict is Verdict.REGRESSED and run["7"].gross for run in found]

    assert np.mean(early) >= 0.95
    assert all(
        run["7"].estimate.launches == 3 for run, gross in zip(found, early, strict=True) if gross
    )
    assert not any(
        decided.verdict in RED for run in found for name, decided in run.items() if name != "7"
    )


@pytest.mark.parametrize(("profile", "size"), [("strict", 0.02), ("noisy", 0.05)])
def test_the_other_profiles_catch_what_they_promise(profile, size):
    assert planted(0.005, size, PROFILES[profile])[Verdict.REGRESSED] >= 0.95


def planted(sd, size, margins=NORMAL, count=300, cells=20) -> dict[Verdict, float]:
    """Shares of the verdicts on one slower cell among unchanged ones; the others must not turn
    red.
    """
    effect = np.zeros(cells)
    effect[7] = np.log1p(size)
    found = runs(
        noise.process(sd), seed=3, effect=effect, count=count, cells=cells, margins=margins
    )
    assert not any(
        decided.verdict in RED for run in found for name, decided in run.items() if name != "7"
    )
    verdicts = Counter(run["7"].verdict for run in found)
    return {verdict: verdicts[verdict] / count for verdict in Verdict}


def test_the_interval_covers_the_truth():
    """Before any stopping rule: 1,000 cells of 20 launches."""
    d, _ = noise.launch_values(
        noise.process(0.01), np.random.default_rng(4), (1, 1000, 20), np.log1p(0.02)
    )
    estimates = [estimate(row) for row in d[0]]

    covered = np.mean([found.low <= 0.02 <= found.high for found in estimates])
    assert 0.94 <= covered <= 0.97


def test_the_interval_covers_the_truth_where_the_screen_has_stopped_too():
    """With cells unlike each other, as on a machine: spreads from 0.3 to 2.5 %."""
    d, within = noise.launch_values(noise.process(0.009), np.random.default_rng(12), (RUNS, 15, 6))
    d = d * np.exp(np.random.default_rng(13).normal(0, 0.5, (RUNS, 15, 1)))
    courses = [Course([str(cell) for cell in range(15)], NORMAL) for _ in range(RUNS)]
    estimates = []
    for run, course in enumerate(courses):
        for launch in range(6):
            if course.stage == 1:
                course.note(
                    {
                        n: Pair(d[run, int(n), launch], within[run, int(n), launch])
                        for n in course.wanted()
                    }
                )
        estimates += [
            found.estimate for found in course.verdicts().values() if found.verdict is Verdict.SAME
        ]

    assert len(estimates) > 0.85 * RUNS * 15
    assert 0.94 <= np.mean([found.low <= 0 <= found.high for found in estimates]) <= 0.97


def test_a_slow_mode_of_head_alone_is_seldom_the_same_and_never_an_improvement():
    def lottery(rng, shape):
        slots, processes = noise.white(rng, shape)
        return slots, processes + np.stack([np.zeros(shape), 0.06 * (rng.random(shape) < 0.5)])

    verdicts = Counter(
        decided.verdict for run in runs(lottery, seed=5, cells=2) for decided in run.values()
    )
    total = verdicts.total()

    assert verdicts[Verdict.IMPROVED] == 0
    assert verdicts[Verdict.UNSTABLE] + verdicts[Verdict.REGRESSED] >= 0.5 * total
    # three launches that were all fast by luck: 12.5 % at least
    assert verdicts[Verdict.SAME] <= 0.25 * total


@pytest.mark.parametrize("what", [noise.quantised, noise.no_noise])
def test_clocks_that_are_coarse_or_noise_that_is_none_are_no_trouble(what):
    assert {
        decided.verdict for run in runs(what, seed=6, count=20) for decided in run.values()
    } == {Verdict.SAME}
    slower = runs(what, seed=6, effect=np.log1p(0.05), count=5, cells=3)
    assert {decided.verdict for run in slower for decided in run.values()} == {Verdict.REGRESSED}


def mirrored(values):
    return {Verdict.REGRESSED: Verdict.IMPROVED, Verdict.IMPROVED: Verdict.REGRESSED}.get(
        values, values
    )


def test_swapping_the_sides_swaps_the_verdicts():
    rng = np.random.default_rng(7)
    effect = np.repeat([0.0, 0.02, 0.03, 0.05, -0.03, -0.1], 5)[None, :, None]
    first = noise.launch_values(noise.process(0.008), rng, (1, 30, 6), effect)
    fresh = noise.launch_values(noise.process(0.008), rng, (1, 30, 20), effect)

    def verdicts(sign):
        def make(places):
            return sign * fresh[0][0][places], fresh[1][0][places]

        return {
            name: found.verdict
            for name, found in gate(sign * first[0][0], first[1][0], make).verdicts().items()
        }

    forward, backward = verdicts(1), verdicts(-1)

    assert {Verdict.REGRESSED, Verdict.IMPROVED, Verdict.SAME} <= set(forward.values())
    assert {name: mirrored(found) for name, found in forward.items()} == backward


def test_the_unit_of_time_does_not_matter():
    times = np.exp(np.random.default_rng(8).normal(0, 0.01, (2, 50, 2)))

    assert np.allclose(quad(times[0], times[1]), quad(1e9 * times[0], 1e9 * times[1]), atol=1e-12)


def test_the_same_numbers_get_the_same_verdict():
    def once():
        return runs(noise.heavy_tails, seed=9, effect=np.log1p(0.03), count=3, cells=20)

    assert once() == once()


def test_a_value_that_is_no_number_is_refused():
    course = Course(["a"], NORMAL)
    course.note({"a": Pair(0.0, 0.001)})
    course.note({"a": Pair(0.0, 0.001)})

    with pytest.raises(ValueError, match="finite"):
        course.note({"a": Pair(float("nan"), 0.001)})


@pytest.mark.parametrize("name", noise.AA)
def test_controls_leave_a_run_of_unchanged_code_valid(name):
    d, _ = noise.launch_values(noise.AA[name], np.random.default_rng(10), (RUNS, validity.MANY, 4))

    assert sum(bool(validity.problems({}, dict(enumerate(run)))) for run in d) <= 0.05 * RUNS


def test_controls_see_that_one_side_is_slower_than_the_other():
    d, _ = noise.launch_values(
        noise.process(0.005), np.random.default_rng(11), (RUNS, validity.MANY, 4), 0.01
    )
    found = [validity.problems({}, dict(enumerate(run))) for run in d]

    assert sum("side bias" in " ".join(problems) for problems in found) >= 0.9 * RUNS
