"""What is said of many fresh processes; the processes themselves are started in test_doctor."""

from __future__ import annotations

import pytest

from bench import spread


def rows(laboratory: list[float], default: list[float], cell: str = "c") -> list[spread.Launch]:
    sides = {"laboratory": laboratory, "default": default}
    return [
        spread.Launch(launch, cell, side, value, value)
        for side, values in sides.items()
        for launch, value in enumerate(values)
    ]


def test_slower_is_paired_within_launches():
    found = spread.summarise(rows([1.1, 2.2, 3.3], [1.0, 2.0, 3.0]))[0]

    assert found.slower == pytest.approx(0.10)
    assert found.launches == 3


def test_a_cell_that_is_quicker_and_steadier_breaks_nothing():
    found = spread.summarise(rows([1.00, 1.01, 0.99], [1.1, 1.3, 1.2]))[0]

    assert found.breaks() == []


def test_a_cell_four_percent_slower_breaks_the_rule():
    found = spread.summarise(rows([1.04, 1.041, 1.04], [1.0, 1.1, 0.9]))[0]

    assert len(found.breaks()) == 1
    assert "4.0% slower" in found.breaks()[0]


def test_a_cell_that_differs_more_breaks_the_rule():
    found = spread.summarise(rows([0.9, 1.0, 1.1], [1.0, 1.01, 1.02]))[0]

    assert "processes differ more" in found.breaks()[0]


def test_gain_is_the_geometric_mean_of_the_ratios():
    half = spread.summarise(rows([1.0, 1.1], [1.0, 1.2], "half"))[0]
    double = spread.summarise(rows([1.0, 1.2], [1.0, 1.1], "double"))[0]

    assert spread.gain([half, double]) == pytest.approx(1.0)
