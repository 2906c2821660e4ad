"""Is the run to be trusted? Each thing that makes it invalid, or is to be told of, planted
alone.
"""

from __future__ import annotations

import numpy as np
import pytest

from paritygate.core.record import Verdict
from paritygate.gate import validity
from paritygate.gate.verdict import Decided, estimate

RNG = np.random.default_rng


def calm(cells=8, launches=4, shift=0.0, seed=0):
    rng = RNG(seed)
    return {str(cell): rng.normal(shift, 0.003, launches) for cell in range(cells)}


def test_a_calm_run_has_no_problem_and_no_warning():
    d = calm()
    assert validity.problems({}, d) == []
    assert validity.warnings([0.001, -0.001, 0.0], [0.0, 0.001, 0.0], list(d.values())) == []


@pytest.mark.parametrize("verdict", [Verdict.REGRESSED, Verdict.IMPROVED, Verdict.UNSTABLE])
def test_a_control_with_a_verdict_of_its_own_is_a_problem(verdict):
    decided = Decided(verdict, "", estimate([0.05, 0.051, 0.049]), 0.02)

    assert validity.problems({"a": decided}, {}) == [
        f"control a: base was +5.1% against itself ({verdict})"
    ]


def test_one_side_slower_in_all_controls_is_a_problem_and_in_a_few_is_none():
    (problem,) = validity.problems({}, calm(shift=0.01))

    assert problem.startswith(
        "side bias: in 8 of 8 controls the same side is slower, in the median by 1.0%"
    )
    assert validity.problems({}, calm(cells=4, shift=0.01)) == []


def test_one_launch_that_is_slow_in_all_cells_is_no_side_bias():
    d = {cell: values + np.array([0.03, 0, 0, 0]) for cell, values in calm().items()}

    assert validity.problems({}, d) == []


def test_controls_that_scatter_further_than_their_launches_are_a_problem():
    d = {cell: values * 0.1 + 0.03 * (-1) ** int(cell) for cell, values in calm().items()}
    (problem,) = validity.problems({}, d)

    assert "controls scatter" in problem


def test_what_is_measured_first_in_a_quad_must_not_matter():
    noise = RNG(1).normal(0, 0.001, (2, 8))
    (warning,) = validity.warnings(0.02 + noise[0], -0.02 + noise[1], [])

    assert warning.startswith("order effect: the side measured first in a quad differs by +2")


def test_a_drift_over_the_run_is_told():
    (warning,) = validity.warnings(
        [], [], [[0.0, 0.01, 0.02, 0.03], [0.0, 0.011, 0.019, 0.03], [0, 0.01, 0.02, 0.03]]
    )

    assert warning.startswith("drift: head against base changes over the run (rank correlation +")


@pytest.mark.parametrize(("cells", "wanted"), [(1, 1), (12, 2), (29, 2), (30, 8), (300, 8)])
def test_how_many_controls_a_run_has(cells, wanted):
    assert validity.controls_wanted(cells) == wanted
