"""The rule that says when two answers agree, on plain arrays."""

import math
from dataclasses import replace

import numpy as np
import pytest

from paritygate.core.case import DTYPES
from paritygate.core.devices import DEVICE_KINDS
from paritygate.parity.rule import compare, distances
from paritygate.parity.tolerance import Tolerance, tolerances

RULE = Tolerance("test", floor=1e-6, ratio=4, cap=1e-2, outlier=8, least=1e-2)
WHOLE = replace(RULE, parts=0)  # levels alone, whose limits are exact numbers
RNG = np.random.default_rng(0)
TRUTH = RNG.standard_normal((4, 1000))
EAGER = TRUTH + 1e-5 * RNG.standard_normal(TRUTH.shape)


def off_by(size, base=TRUTH):
    """An answer whose error against ``base`` has the given norm, spread evenly over all
    elements.
    """
    signs = RNG.choice([-1.0, 1.0], base.shape)
    return base + signs * size * np.linalg.norm(base) / math.sqrt(base.size)


def judged(candidate, eager=EAGER, reference=TRUTH, rule=RULE):
    return compare([[candidate]], [[eager]], None if reference is None else [[reference]], rule)


def error(answer):
    return np.linalg.norm(answer - TRUTH) / np.linalg.norm(TRUTH)


def test_a_candidate_may_be_r_times_as_far_off_as_eager_and_no_farther():
    own = error(EAGER)
    assert judged(off_by(3.9 * own), rule=WHOLE).agrees
    beyond = judged(off_by(4.1 * own), rule=WHOLE)
    assert not beyond.agrees
    assert beyond.share == pytest.approx(4.1 / 4)
    assert beyond.ratio == pytest.approx(4.1)
    assert (
        f"error {beyond.error:.3g} against float64, allowed {4 * own:.3g} (eager's own error {own:.3g})"
        in (beyond.problem)
    )


def test_the_floor_stands_in_where_eager_is_exact():
    assert judged(off_by(3.9e-6), eager=TRUTH, rule=WHOLE).agrees
    assert not judged(off_by(4.1e-6), eager=TRUTH, rule=WHOLE).agrees


def test_the_cap_holds_however_far_off_eager_is():
    eager = off_by(9e-3)
    assert judged(off_by(9.9e-3), eager).agrees
    assert not judged(off_by(1.1e-2), eager).agrees


def test_the_error_is_taken_over_all_input_sets_at_once():
    sets = [[TRUTH[:1]], [TRUTH[1:]]]
    eager = [[EAGER[:1]], [EAGER[1:]]]
    candidate = off_by(3 * error(EAGER))
    split = compare([[candidate[:1]], [candidate[1:]]], eager, sets, RULE)
    assert split.error == pytest.approx(judged(candidate).error, rel=1e-12)
    assert split.compared == TRUTH.size


def test_one_broken_element_in_a_million_is_found_although_the_norm_hides_it():
    truth = RNG.standard_normal((1000, 1000))
    eager = truth + 1e-6 * RNG.standard_normal(truth.shape)
    broken = eager.copy()
    broken[123, 456] += 1e-3
    outcome = judged(broken, eager, truth)
    assert outcome.error < outcome.allowed, "the norm alone would have let it pass"
    assert not outcome.agrees
    assert "one element is 0.001 off, allowed" in outcome.problem
    assert outcome.worst["index"] == (123, 456)
    assert judged(eager, eager, truth).agrees


def test_the_outlier_bound_is_a_multiple_of_eagers_largest_error():
    largest = np.abs(EAGER - TRUTH).max()
    broken = TRUTH.copy()
    broken[0, 0] += 7.9 * largest
    assert judged(broken, rule=WHOLE).agrees
    broken[0, 0] += 0.2 * largest
    assert not judged(broken, rule=WHOLE).agrees


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_nan_or_infinity_that_eager_does_not_have_is_found_and_named(value):
    candidate = EAGER.copy()
    candidate[2, 7] = value
    outcome = judged(candidate)
    assert not outcome.agrees
    assert "1 elements are NaN or infinite, 0 in eager" in outcome.problem
    assert outcome.worst["index"] == (2, 7)
    assert outcome.worst["eager"] == EAGER[2, 7]


@pytest.mark.parametrize(
    ("theirs", "ours"), [(np.nan, 0.5), (np.inf, 0.5), (np.inf, np.nan), (np.inf, -np.inf)]
)
def test_a_missing_or_different_nan_or_infinity_is_found(theirs, ours):
    truth, eager, candidate = TRUTH.copy(), EAGER.copy(), EAGER.copy()
    truth[1, 1] = eager[1, 1] = theirs
    candidate[1, 1] = ours
    outcome = judged(candidate, eager, truth)
    assert not outcome.agrees
    assert outcome.worst["index"] == (1, 1)
    candidate[1, 1] = theirs
    assert judged(candidate, eager, truth).agrees


def test_a_fault_beside_a_declared_nan_is_still_found():
    truth, eager = TRUTH.copy(), EAGER.copy()
    truth[0, 0] = eager[0, 0] = np.nan
    candidate = off_by(1e-3)
    candidate[0, 0] = np.nan
    assert not judged(candidate, eager, truth).agrees


def test_shapes_dtypes_and_counts_must_be_eagers():
    plain = TRUTH.astype(np.float32)
    assert "shape (1000, 4), eager's is (4, 1000)" in judged(plain.T, plain).problem
    assert "dtype float64, eager's is float32" in judged(TRUTH, plain).problem
    two = compare([[plain, plain]], [[plain]], [[TRUTH]], RULE)
    assert "2 output tensors, eager gives 1" in two.problem
    assert not two.agrees


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.bool_])
def test_integers_and_booleans_must_be_equal(dtype):
    eager = np.array([[0, 1], [1, 0]], dtype)
    candidate = eager.copy()
    candidate[1, 0] = 0
    outcome = judged(candidate, eager, eager.astype(np.float64))
    assert not outcome.agrees
    assert "1 of 4 integers differ" in outcome.problem
    assert outcome.worst["index"] == (1, 0)
    assert judged(eager, eager, eager.astype(np.float64)).agrees


def test_integers_too_large_for_float64_must_be_equal():
    eager = np.array([2**53, 7])
    assert not judged(np.array([2**53 + 1, 7]), eager, eager.astype(np.float64)).agrees


def test_integers_are_held_against_eager_where_float64_breaks_a_tie_otherwise():
    eager = np.array([3, 1, 2])
    assert judged(eager, eager, np.array([3.0, 0.0, 2.0])).agrees


def test_the_imaginary_part_counts():
    truth = TRUTH + 1j * TRUTH[::-1]
    eager = EAGER + 1j * EAGER[::-1]
    assert judged(eager, eager, truth).agrees
    outcome = judged(eager.conj(), eager, truth)
    assert not outcome.agrees
    assert outcome.worst["index"][-1] == 1


def test_without_a_reference_eager_is_it_and_the_cap_alone_decides():
    assert judged(off_by(9e-3, EAGER), reference=None).agrees
    beyond = judged(off_by(1.1e-2, EAGER), reference=None)
    assert not beyond.agrees
    assert "against eager, allowed 0.01" in beyond.problem
    broken = EAGER.copy()
    broken[3, 3] += 1.5  # 2 % of the norm of the answer would be over the cap, this is 0.024 of it
    assert not judged(broken, reference=None).agrees


def test_the_message_names_input_set_output_index_and_the_three_values():
    good = [TRUTH[:2], TRUTH[2:]]
    eager = [EAGER[:2], EAGER[2:]]
    bad = EAGER[2:].copy()
    bad[1, 999] = 7.5
    outcome = compare([good, good, [good[0], bad]], [eager] * 3, [good] * 3, RULE)
    text = outcome.explain()
    assert text.startswith("output 1: error ")
    assert (
        f"at input set 2, output 1, index (1, 999): got 7.5, reference {TRUTH[3, 999]:.9g}, eager "
        in text
    )


def test_what_agrees_says_how_close_it_came():
    outcome = judged(off_by(2 * error(EAGER)), rule=WHOLE)
    assert outcome.explain().startswith("agrees: error ")
    assert "50% of what is allowed" in outcome.explain()


def test_of_several_outputs_the_one_closest_to_its_limit_is_reported():
    outcome = compare([[TRUTH, off_by(2e-5)]], [[EAGER, EAGER]], [[TRUTH, TRUTH]], WHOLE)
    assert outcome.share == pytest.approx(2e-5 / (4 * error(EAGER)), rel=0.01)


def test_empty_and_scalar_outputs_can_be_compared():
    nothing = np.zeros((0, 3), np.float32)
    assert judged(nothing, nothing, nothing.astype(np.float64)).agrees
    one = np.array(2.0)
    assert judged(one, one, one).agrees
    assert judged(np.array(2.1), one, one).worst["index"] == ()


def test_the_table_has_a_sane_row_for_every_dtype_that_can_be_measured():
    table = tolerances()
    wanted = {dtype for kind in DEVICE_KINDS.values() for dtype in kind.dtypes}
    assert wanted <= set(table)
    assert wanted <= set(DTYPES)
    for row in (
        table[name]
        for name in (*wanted, *(f"{dtype}_gradients" for dtype in wanted), "fp32_folded")
    ):
        assert 0 < row.floor < row.cap < 1, row
        assert row.ratio > 1, row
        assert row.ratio * row.floor <= row.cap, f"{row}: the cap would undercut the floor"
        assert row.outlier >= 1, row
    assert table["bf16"].cap > table["fp16"].cap > table["fp32"].cap


def test_a_looser_row_lets_more_pass():
    candidate = off_by(6 * error(EAGER))
    assert not judged(candidate).agrees
    assert judged(candidate, rule=replace(RULE, ratio=10)).agrees


def gradients(*norms, size=100, off=0.0):
    """A loss, then gradients of these norms; ``off``: the norm of what they are off by."""
    rng = np.random.default_rng(1)
    signs = [rng.choice([-1.0, 1.0], size) for _ in norms]
    wrong = np.random.default_rng(2).choice([-1.0, 1.0], size) * off / math.sqrt(size)
    return [
        [
            np.array(1.0),
            *(
                norm * each / math.sqrt(size) + wrong
                for norm, each in zip(norms, signs, strict=True)
            ),
        ]
    ]


def test_a_gradient_that_is_zero_but_for_rounding_is_judged_by_the_scale_of_the_whole():
    """The key's bias of attention has none at all: in eager it is wholly wrong, and of no
    concern.
    """
    truth, eager, candidate = (
        gradients(1.0, 1e-12),
        gradients(1.0, 1e-12, off=1e-9),
        gradients(1.0, 1e-12, off=2e-9),
    )

    assert compare(candidate, eager, truth, RULE).coarse == (2,)
    judged_as_a_part = compare(candidate, eager, truth, RULE, gradient_start=1)
    assert judged_as_a_part.agrees
    assert judged_as_a_part.coarse == ()


@pytest.mark.parametrize("small", [1.0, 1e-2, 1e-3])
def test_a_small_gradient_that_is_scaled_by_a_percent_is_found_all_the_same(small):
    truth, scaled = gradients(1.0, small), gradients(1.0, small)
    scaled[0][2] *= 1.01

    assert not compare(scaled, truth, truth, RULE, gradient_start=1).agrees


def test_the_loss_is_no_part_of_the_whole():
    truth, wrong = gradients(1e6, 1e6), gradients(1e6, 1e6)
    wrong[0][0] *= 1.001

    assert not compare(wrong, truth, truth, RULE, gradient_start=1).agrees


def test_an_output_off_by_no_more_than_rounding_moves_the_truth_is_undetermined():
    truth, off = gradients(1.0, 1.0), gradients(1.0, 1.0, off=1e-3)

    found = compare(off, truth, truth, RULE, gradient_start=1, gradient_ties=[0.0, 1e-3, 1e-3])
    assert not found.agrees
    assert found.undetermined
    assert "error 0.001 against float64" in found.explain()


def test_one_output_that_rounding_does_not_explain_is_a_fault():
    truth, off = gradients(1.0, 1.0), gradients(1.0, 1.0, off=1e-3)

    found = compare(off, truth, truth, RULE, gradient_start=1, gradient_ties=[0.0, 1e-3, 1e-5])
    assert not found.agrees
    assert not found.undetermined
    assert found.problem.startswith("output 2:")


def test_a_nan_is_a_fault_however_far_rounding_moves_the_truth():
    truth, broken = gradients(1.0, 1.0), gradients(1.0, 1.0)
    broken[0][1][3] = math.nan

    found = compare(broken, truth, truth, RULE, gradient_start=1, gradient_ties=[1.0, 1.0, 1.0])
    assert not found.agrees
    assert not found.undetermined


def test_what_agrees_is_not_undetermined_however_far_rounding_moves_it():
    truth = gradients(1.0, 1.0)

    found = compare(truth, truth, truth, RULE, gradient_start=1, gradient_ties=[1.0, 1.0, 1.0])
    assert found.agrees
    assert not found.undetermined


def test_how_far_rounding_moves_an_output_is_told_over_the_norm_of_the_comparison():
    truth, moved = gradients(2.0, 1e-12), gradients(2.0, 1e-12, off=0.1)

    assert distances(moved, truth, RULE, 1)[1] == pytest.approx(0.05)
    assert distances(moved, truth, RULE, 1)[2] == pytest.approx(
        0.1 / (1e-2 * 2.0 / math.sqrt(2)), rel=0.01
    )
