"""Level shifts: found where they are, and not where there is only noise, drift or a spike."""

from __future__ import annotations

import numpy as np
import pytest

from evidence.changepoints import LENGTH, NOISES, STEP, fresh, lasting
from paritygate_reports.analysis import change_point_detection

SERIES = 60  # of each noise; a thousand in bench/evidence/changepoints.py


def draw(number):
    return np.random.default_rng(number)


@pytest.mark.parametrize("noise", NOISES)
def test_a_clean_history_has_no_change(noise):
    """Less than one in a hundred series, so of 60 two at most (the chance of three is 2 %)."""
    false = sum(
        len(change_point_detection.find(NOISES[noise](draw(number), LENGTH)))
        for number in range(SERIES)
    )

    assert false <= 2


@pytest.mark.parametrize("noise", ["white", "spikes 2 %", "heavy tails", "drift 3 sd"])
def test_a_step_is_found_after_three_runs(noise):
    found = sum(
        any(
            shift.position >= LENGTH - 6
            for shift in change_point_detection.find(fresh(NOISES[noise], draw(number)))
        )
        for number in range(SERIES)
    )

    assert found >= 0.7 * SERIES


@pytest.mark.parametrize("noise", NOISES)
def test_a_step_is_found_in_its_place_with_its_height(noise):
    near, covered, places, false = 0, 0, 0, 0
    for number in range(SERIES):
        series, at = lasting(NOISES[noise], draw(number))
        found = change_point_detection.find(series)
        mine = [shift for shift in found if abs(shift.position - at) <= 5]
        near += any(abs(shift.position - at) <= 3 for shift in mine)
        covered += any(shift.low <= STEP <= shift.high for shift in mine)
        places += any(shift.first <= at <= shift.last for shift in mine)
        false += len(found) - len(mine)

    # noise that remembers so much makes levels of its own
    share = {"AR(1) 0.5": 0.5}.get(noise, 0.8)
    assert near >= share * SERIES
    assert covered >= share * SERIES
    assert places >= share * SERIES
    assert false <= 3


def test_a_bump_is_two_shifts_and_one_spike_none():
    noise = draw(0).standard_normal(100)
    bump = noise + 6.0 * ((np.arange(100) >= 40) & (np.arange(100) < 50))
    spike = noise + 30.0 * (np.arange(100) == 40)

    assert [shift.position for shift in change_point_detection.find(bump)] == [40, 50]
    assert [np.sign(shift.step) for shift in change_point_detection.find(bump)] == [1, -1]
    assert change_point_detection.find(spike) == []


def test_two_spikes_in_a_row_are_no_level_three_are():
    noise = draw(1).standard_normal(100)

    assert change_point_detection.find(noise + 30.0 * (np.arange(100) >= 98)) == []
    assert [
        shift.position
        for shift in change_point_detection.find(noise + 30.0 * (np.arange(100) >= 97))
    ] == [97]


def test_faster_mirrors_slower_and_the_unit_does_not_matter():
    series, _ = lasting(NOISES["AR(1) 0.3"], draw(3))
    found = change_point_detection.find(series)

    assert found
    assert [(s.position, s.first, s.last) for s in change_point_detection.find(-series)] == [
        (s.position, s.first, s.last) for s in found
    ]
    assert [s.step for s in change_point_detection.find(-series)] == pytest.approx(
        [-s.step for s in found]
    )
    scaled = change_point_detection.find(series * 1e-3 + 5)
    assert [s.position for s in scaled] == [s.position for s in found]
    assert [s.step for s in scaled] == pytest.approx([s.step * 1e-3 for s in found], rel=1e-6)


@pytest.mark.parametrize("memory", [0.0, 0.3, 0.6, change_point_detection.MOST_MEMORY])
@pytest.mark.parametrize(
    ("hopeless", "new"),
    [(change_point_detection.HOPELESS_OLD, False), (change_point_detection.HOPELESS_NEW, True)],
)
def test_what_needs_no_simulation_would_be_noise_by_it_too(memory, hopeless, new):
    """Short histories have the lowest thresholds: they have the fewest places for chance to be
    large in.
    """
    # a new level needs 20 runs before it
    for length in change_point_detection.LENGTHS[int(new) : 4]:
        assert (
            np.mean(change_point_detection._largest(length, memory, new) >= hopeless)
            > change_point_detection.ALPHA
        )


def test_the_same_series_gives_the_same_answer():
    series, _ = lasting(NOISES["white"], draw(4))

    assert change_point_detection.find(series) == change_point_detection.find(series)


@pytest.mark.parametrize("series", [[], [1.0], [1.0] * 5, [2.0] * 50])
def test_too_few_or_equal_values_have_no_shift(series):
    assert change_point_detection.find(series) == []


@pytest.mark.parametrize("count", [20, 31])
def test_an_exact_step_without_noise_is_found(count):
    assert [
        shift.position for shift in change_point_detection.find([1.0] * count + [2.0] * count)
    ] == [count]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="remove these values"):
        change_point_detection.find([1.0, value, 2.0])
