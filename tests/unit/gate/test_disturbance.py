"""Which launch pairs are measured again: by their level and by what the machine did, never by who
was slower.
"""

from __future__ import annotations

import pytest

from paritygate.gate.disturbance import LEVEL, REPEATED, Disturbances
from paritygate.gate.launch_pair import Measured
from paritygate.timing.diagnostics import Conditions

CALM = Conditions()


def judge(*levels, conditions=CALM):
    disturbances = Disturbances()
    return [disturbances.again("a", level, conditions) for level in levels]


def test_a_pair_far_above_the_fastest_of_its_cell_is_measured_again():
    assert judge(0.0, 0.5 * LEVEL, 1.1 * LEVEL) == [False, False, True]
    assert judge(1.1 * LEVEL, 0.0, 0.0, 1.1 * LEVEL) == [False, False, False, True]


def test_cells_have_levels_of_their_own():
    disturbances = Disturbances()

    assert not disturbances.again("fast", 0.0, CALM)
    assert not disturbances.again("slow", 5.0, CALM)


@pytest.mark.parametrize(
    "conditions", [Conditions(steal=0.03), Conditions(throttled=1), Conditions(gpu_foreign=1)]
)
def test_stolen_time_heat_and_strangers_on_the_gpu_disturb_as_well(conditions):
    # then half of the pairs are repeated
    assert judge(0.0, 0.0, conditions=conditions) == [
        True,
        False,
    ]


@pytest.mark.parametrize("clock", [-0.02, 0.02])
def test_a_clock_that_differs_between_the_sides_disturbs_whichever_it_favours(clock):
    assert Disturbances().again("a", 0.0, CALM, clock)
    assert not Disturbances().again("a", 0.0, CALM, clock / 4)


def test_on_a_machine_that_is_never_calm_a_run_must_end():
    asked = judge(*([0.0] + [1.0] * 99))

    assert sum(asked) == REPEATED * 100


def test_the_level_does_not_see_who_is_slower():
    base, head = [1.0, 1.02, 1.5, 1.01], [1.2, 1.21, 1.19, 1.9]

    assert Measured(base=base, head=head).level == pytest.approx(
        Measured(base=head, head=base).level
    )
    assert (
        Measured(base=[2 * x for x in base], head=head).level > Measured(base=base, head=head).level
    )
