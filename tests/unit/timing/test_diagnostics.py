"""Warnings: each comes for its own reason, says its number and what to do, and does not come
otherwise.
"""

import random

import pytest

from paritygate.timing.diagnostics import (
    Conditions,
    advise,
    launch_bound,
    mode_gap,
    relative_spread,
)

QUIET = Conditions()
STEADY = [1.0 + 0.001 * i for i in range(20)]
WIDE = [1.0 + 0.02 * i for i in range(20)]
MODES = [1.0, 1.001, 1.002] * 4 + [1.08, 1.081, 1.082] * 3


def test_a_good_measurement_is_warned_of_nothing():
    assert advise(STEADY, True, QUIET) == []


@pytest.mark.parametrize(
    ("blocks", "warm", "conditions", "start", "number"),
    [
        (STEADY[:5], True, QUIET, "few blocks: ", "5 measured, 6 make an interval"),
        (WIDE, True, QUIET, "spread: ", "29%"),
        (MODES, True, QUIET, "two modes: ", "8% apart"),
        (STEADY, False, QUIET, "warm-up: ", "5%"),
        (STEADY, True, Conditions(steal=0.03), "steal: ", "3%"),
        (STEADY, True, Conditions(foreign=0.2), "load: ", "20%"),
        (STEADY, True, Conditions(throttled=3), "throttled: ", "3 times"),
        (
            STEADY,
            True,
            Conditions(gpu_throttled=("SwPowerCap", "HwSlowdown")),
            "GPU throttled: ",
            "Cap, HwSlow",
        ),
        (STEADY, True, Conditions(gpu_foreign=2), "GPU shared: ", "2 other processes"),
        (STEADY, True, Conditions(gpu_lost="GPU-1 is lost"), "GPU lost: ", "GPU-1 is lost"),
    ],
)
def test_every_warning_has_its_number_and_says_what_to_do(blocks, warm, conditions, start, number):
    (warning,) = advise(blocks, warm, conditions)
    assert warning.startswith(start)
    assert number in warning
    assert "; " in warning, "what to do stands behind the semicolon"


def test_conditions_at_their_limit_are_not_warned_of():
    assert advise(STEADY, True, Conditions(steal=0.02, foreign=0.10)) == []


def test_an_even_spread_is_no_two_modes():
    rng = random.Random(0)
    assert mode_gap(WIDE) is None
    assert all(mode_gap([rng.gauss(1, 0.05) for _ in range(40)]) is None for _ in range(200))
    assert mode_gap([1.0] * 30 + [1.5]) is None, "a single outlier"
    assert mode_gap([1.0] * 5 + [1.2] * 4) is None, "too few to tell"
    assert mode_gap(MODES) == pytest.approx(0.078, abs=0.002)


def test_the_spread_leaves_out_a_twentieth_on_either_side():
    assert relative_spread([1.0] * 98 + [9.0, 0.1]) == pytest.approx(0.0)


def test_a_device_that_waits_for_the_host_is_launch_bound():
    (line,) = launch_bound(0.0004, 0.001)
    assert line.startswith("launch-bound: the device works 40% of a call")
    assert launch_bound(0.0009, 0.001) == []
