"""What is said of many fresh processes; the processes themselves are started by the doctor and the
evidence.
"""

from __future__ import annotations

import math

import pytest

from paritygate.doctor import spread


def rows(
    laboratory: list[float], default: list[float], lab_2=None, default_2=None, cell="c"
) -> list[spread.Launch]:
    """Medians of each side; the second process of a side is like the first unless told."""
    values = (laboratory, lab_2 or laboratory, default, default_2 or default)
    return [
        spread.Launch(launch, cell, side, value, value)
        for side, medians in zip(spread.SIDES, values, strict=True)
        for launch, value in enumerate(medians)
    ]


def summary(*arguments, **keywords) -> spread.Spread:
    (found,) = spread.summarise(rows(*arguments, **keywords))
    return found


def test_slower_is_paired_within_launches():
    found = summary([1.1, 2.2, 3.3], [1.0, 2.0, 3.0])

    assert found.slower == pytest.approx(0.10)
    assert found.launches == 3


def test_drift_of_the_machine_is_variation_and_no_difference_of_processes():
    found = summary([1.0, 2.0, 4.0], [1.0, 2.0, 4.0])

    assert found.variation["laboratory"] > 0.5
    assert found.deviation["laboratory"] == 0


def test_what_differs_in_the_same_seconds_is_the_process():
    found = summary([1.0, 1.0], [1.0, 1.0], lab_2=[math.exp(0.02), math.exp(-0.02)])

    assert found.deviation["laboratory"] == pytest.approx(0.02 / math.sqrt(2))
    assert found.deviation["default"] == 0


def test_a_cell_that_is_quicker_and_steadier_breaks_nothing():
    assert summary([1.0, 1.1], [1.2, 1.3], default_2=[1.3, 1.2]).breaks() == []


def test_a_cell_four_percent_slower_breaks_the_rule():
    (broken,) = summary([1.04, 1.04], [1.0, 1.0]).breaks()

    assert "4.0% slower" in broken


def test_a_cell_whose_processes_differ_more_breaks_the_rule():
    (broken,) = summary([1.0, 1.1], [1.1, 1.2], lab_2=[1.1, 1.0]).breaks()

    assert "processes differ more" in broken


def test_gain_is_the_geometric_mean_of_the_ratios():
    half = summary(
        [1.0, 1.0],
        [1.0, 1.0],
        lab_2=[math.e, math.e],
        default_2=[math.e**2, math.e**2],
        cell="half",
    )
    double = summary(
        [1.0, 1.0], [1.0, 1.0], lab_2=[math.e**2] * 2, default_2=[math.e] * 2, cell="double"
    )

    assert spread.gain([half, double], "deviation") == pytest.approx(1.0)
    assert spread.gain([half], "deviation") == pytest.approx(0.5)
