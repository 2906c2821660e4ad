"""The interval of a difference of accuracies: published values, symmetry, and how often it
holds.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from paritygate.parity.accuracy import paired_accuracy, wilson


def answered(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Which samples two models answered rightly, of so many each."""
    counts = [both, first, second, neither]
    return np.repeat([True, True, False, False], counts), np.repeat(
        [True, False, True, False], counts
    )


@pytest.mark.parametrize(
    ("counts", "low", "high", "digits"),
    [
        ((20, 12, 2, 16), 0.0562, 0.3292, 4),  # Newcombe 1998, method 10
        (
            (1, 1, 7, 12),
            -0.507,
            -0.026,
            3,
        ),  # Fagerland, Lydersen and Laake 2014, Newcombe's square-and-add
        ((8, 3, 1, 2), -0.1574, 0.4136, 4),  # Tang, Tang and Chan 2010
    ],
)
def test_published_intervals(counts, low, high, digits):
    first, second = answered(*counts)
    difference, *interval = paired_accuracy(second, first)

    assert difference == pytest.approx((counts[1] - counts[2]) / sum(counts))
    assert [round(end, digits) for end in interval] == [low, high]


def test_worse_is_negative_and_exchanging_the_models_mirrors_everything():
    old, new = answered(340, 12, 3, 5)
    difference, low, high = paired_accuracy(old, new)

    assert difference == pytest.approx(-9 / 360)
    assert low < difference < high < 0
    assert paired_accuracy(new, old) == pytest.approx((-difference, -high, -low))


def test_the_same_answers_leave_a_doubt_that_shrinks_with_the_samples():
    difference, low, high = paired_accuracy(*answered(355, 0, 0, 5))
    _, _, more = paired_accuracy(*answered(3550, 0, 0, 50))

    assert difference == 0
    assert -low == high
    assert 0 < more < high < 0.02


def test_answers_that_go_together_say_more_than_others():
    widths = [
        np.subtract(*paired_accuracy(*answered(*counts))[:0:-1])
        for counts in ((80, 5, 5, 10), (73, 12, 12, 3))
    ]

    assert 0 < widths[0] < 0.8 * widths[1]


@pytest.mark.parametrize("extreme", [(10, 0, 0, 0), (0, 0, 0, 10), (0, 10, 0, 0)])
def test_all_right_all_wrong_and_all_different_stay_within_one(extreme):
    _, low, high = paired_accuracy(*answered(*extreme))

    assert -1 <= low < high <= 1


@pytest.mark.parametrize(
    "shares", [(0.90, 0.05, 0.03, 0.02), (0.5, 0.2, 0.1, 0.2), (0.7, 0.2, 0.02, 0.08)]
)
def test_the_true_difference_lies_within_nineteen_times_of_twenty(shares):
    """Exactly, by adding up the chances of all tables of 24 samples; so few near 100 % it holds
    more often.
    """
    n, held, total = 24, 0.0, 0.0
    truth = shares[2] - shares[1]
    for both in range(n + 1):
        for first in range(n + 1 - both):
            for second in range(n + 1 - both - first):
                counts = (both, first, second, n - both - first - second)
                chance = math.factorial(n) * math.prod(
                    share**count / math.factorial(count)
                    for share, count in zip(shares, counts, strict=True)
                )
                _, low, high = paired_accuracy(*answered(*counts))
                total += chance
                held += chance * (low <= truth <= high)

    assert total == pytest.approx(1)
    assert 0.94 <= held <= 0.997


def test_it_holds_for_as_many_samples_as_there_are_digits_held_out():
    """By drawing: 97 % and 95 % right, of 360."""
    shares, drawn = (0.94, 0.03, 0.01, 0.02), np.random.default_rng(0)
    tables = drawn.multinomial(360, shares, size=4000)
    held = [
        low <= -0.02 <= high
        for _, low, high in (paired_accuracy(*answered(*table)) for table in tables)
    ]

    assert 0.94 <= np.mean(held) <= 0.97


@pytest.mark.parametrize("wrong", [([True], [True, False]), ([], []), ([[True]], [[True]])])
def test_other_than_the_same_samples_is_refused(wrong):
    with pytest.raises(ValueError, match="on the same samples"):
        paired_accuracy(*wrong)


def test_wilson_agrees_with_published_numbers():
    # 10 of 10: 1 / (1 + z^2 / n) is the lower end
    assert wilson(1.0, 10) == pytest.approx((0.722467, 1.0), abs=1e-6)
    assert wilson(0.5, 100) == pytest.approx((0.403832, 0.596168), abs=1e-6)
    # Newcombe 1998, table I
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
