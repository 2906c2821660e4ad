"""Parts of an output: a fault in any of them is found by its own size, and what float arithmetic
does is none.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from paritygate.parity import elements, parts, rule, sums
from paritygate.parity.rule import UndecidableError, compare
from paritygate.parity.tolerance import tolerances

RULE = tolerances()["fp32"]
NOISE = 1e-7  # of one float32 operation, relative


def float32(values):
    return np.asarray(values).astype(np.float32)


def answers(truth, scale=1.0, noise=NOISE, seed=0):
    """Eager's answer and a backend's: the truth with independent noise of float32, ``scale`` times
    its usual size.
    """
    rng = np.random.default_rng(seed)
    return tuple(truth + noise * scale * rng.standard_normal(truth.shape) for _ in range(2))


def judged(candidate, eager, truth, **more):
    """Sets are the first axis."""
    return compare(
        [[float32(one)] for one in candidate],
        [[float32(one)] for one in eager],
        [[one] for one in truth],
        RULE,
        **more,
    )


def boxes(rng):
    """(sets, rows, 5): four coordinates of some 500 and a score of some 0.01."""
    scale = np.array([500.0, 500.0, 500.0, 500.0, 0.01])
    return rng.standard_normal((8, 4, 5)) * scale, scale


def fills(rng, value):
    """Logits of which every third is a fill."""
    truth = rng.standard_normal((4, 8, 30))
    filled = rng.random(truth.shape) < 0.3
    truth[filled] = value
    return truth, filled


@pytest.mark.parametrize("fault", ["whole", "row", "element"])
def test_a_fault_in_scores_beside_boxes_is_found_by_the_size_of_scores(fault):
    truth, scale = boxes(np.random.default_rng(1))
    eager, candidate = answers(truth, scale)
    assert judged(candidate, eager, truth).agrees
    place = {"whole": np.s_[..., 4], "row": np.s_[2, :, 4], "element": np.s_[2, 1, 4]}[fault]
    candidate[place] *= 1.001

    outcome = judged(candidate, eager, truth)

    assert not outcome.agrees
    assert outcome.whole["share"] < 1, "the norm of the whole hides it"
    assert outcome.part["axis"] == "axis 1 index"
    assert outcome.part["index"] == 4
    assert outcome.worst["index"][-1] == 4


@pytest.mark.parametrize("value", [-1e4, -1e9, 1e10, -1e30])
def test_a_fault_in_a_logit_beside_fills_is_found_by_the_size_of_logits(value):
    truth, filled = fills(np.random.default_rng(2), value)
    eager, candidate = (np.where(filled, value, noisy) for noisy in answers(truth))
    assert judged(candidate, eager, truth).agrees
    place = tuple(np.argwhere(~filled & (np.abs(truth) > 0.1))[7])
    candidate[place] *= 1.001

    outcome = judged(candidate, eager, truth)

    assert not outcome.agrees
    assert (outcome.worst["set"], *outcome.worst["index"]) == place


@pytest.mark.parametrize(
    ("exact", "rounded"),
    [
        (np.finfo(np.float64).min, np.finfo(np.float32).min),
        (-np.inf, np.finfo(np.float32).min),
        (np.finfo(np.float64).max, np.finfo(np.float32).max),
        (np.finfo(np.float64).min / 2, np.finfo(np.float32).min / 2),
    ],
)
def test_what_no_dtype_can_hold_is_compared_as_saturated(exact, rounded):
    truth, filled = fills(np.random.default_rng(3), exact)
    eager, candidate = (
        np.where(filled, rounded, noisy) for noisy in answers(np.where(filled, 0, truth))
    )

    outcome = judged(candidate, eager, truth)
    assert outcome.agrees
    assert outcome.uncompared == {"saturated": int(filled.sum())}

    wrong = candidate.copy()
    wrong[tuple(np.argwhere(~filled & (np.abs(truth) > 0.1))[3])] *= 1.001
    assert not judged(wrong, eager, truth).agrees
    lost = candidate.copy()
    lost[tuple(np.argwhere(filled)[3])] = -1e4
    assert not judged(lost, eager, truth).agrees


def test_a_fault_beside_a_few_huge_elements_is_found():
    truth = np.random.default_rng(4).standard_normal((4, 8, 64))
    truth[0, 0, :3] *= 1e6
    eager, candidate = answers(truth, np.maximum(1, np.abs(truth)))
    assert judged(candidate, eager, truth).agrees
    candidate[..., 5] *= 1.001

    assert not judged(candidate, eager, truth).agrees


def test_a_fault_in_one_of_many_channels_of_a_wide_output_is_found():
    truth = np.random.default_rng(5).standard_normal((4, 32, 768))
    eager, candidate = answers(truth, noise=2e-6)
    assert judged(candidate, eager, truth).agrees
    candidate[..., 700] *= 1 + 2e-4

    outcome = judged(candidate, eager, truth)
    assert not outcome.agrees
    assert (outcome.part["axis"], outcome.part["index"]) == ("axis 1 index", 700)
    assert "in axis 1 index 700, values of" in outcome.problem


def test_a_fault_in_one_input_set_is_found_and_named():
    truth = np.random.default_rng(6).standard_normal((32, 4, 16))
    eager, candidate = answers(truth, noise=1e-6)
    candidate[9] += 8e-6 * np.sign(truth[9])

    outcome = judged(candidate, eager, truth)
    assert not outcome.agrees
    assert outcome.worst["set"] == 9


def rows(rng):
    scale = np.exp(2 * rng.standard_normal((4, 8, 1))) * np.ones((4, 8, 64))
    return rng.standard_normal(scale.shape) * scale, scale


def loud_rows(rng):
    return rng.standard_normal((4, 8, 64)), rows(rng)[1]


def tails(rng):
    found = np.exp(3 * rng.standard_normal((4, 8, 64)))
    return found, found


def probabilities(rng):
    found = np.exp(8 * rng.standard_normal((4, 8, 64)))
    found /= found.sum(-1, keepdims=True)
    return found, 8 * found


def one_logit(rng):
    return rng.standard_normal((32, 1, 1)), 1.0


# the truth, and how noise grows with place
ARITHMETIC = (
    boxes,
    rows,
    loud_rows,
    tails,
    probabilities,
    one_logit,
)


@pytest.mark.parametrize("kind", ARITHMETIC, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("noise", [1e-7, 2e-6])
def test_noise_of_arithmetic_is_no_fault_whatever_its_sizes(kind, noise):
    shares = []
    for seed in range(40):
        truth, scale = kind(np.random.default_rng(seed))
        eager, candidate = answers(truth, scale, noise, seed=1000 + seed)
        shares.append(judged(candidate, eager, truth).share)

    assert max(shares) < 1


def test_cancellation_is_no_fault():
    """Near zero both are off by what the terms round to, which is much for so small numbers."""
    rng = np.random.default_rng(7)
    truth = rng.standard_normal((4, 8, 64)) * np.where(rng.random((4, 8, 64)) < 0.2, 1e-9, 1.0)
    eager, candidate = answers(truth)

    assert judged(candidate, eager, truth).agrees


def test_zeros_that_rounding_turns_are_no_fault_and_leaked_ones_are():
    rng = np.random.default_rng(8)
    before = rng.standard_normal((4, 8, 64))
    truth = np.maximum(before, 0)
    eager, candidate = (np.maximum(noisy, 0) for noisy in answers(before))
    assert judged(candidate, eager, truth).agrees
    candidate[tuple(np.argwhere(truth == 0)[5])] = 1e-3

    assert not judged(candidate, eager, truth).agrees


def test_an_output_that_is_zero_but_for_rounding_is_unchecked_alone():
    truth = np.random.default_rng(9).standard_normal((4, 8, 16))
    nothing = np.zeros((4, 8))
    eager, candidate = answers(truth)
    rounding = [
        1e-8 * np.random.default_rng(seed).standard_normal(nothing.shape) for seed in (1, 2)
    ]

    def both(first, second, off):
        return [[float32(a), float32(b)] for a, b in zip(first, second + off, strict=True)]

    exact = [[a, b] for a, b in zip(truth, nothing + 1e-12, strict=True)]
    outcome = compare(both(candidate, rounding[1], 0), both(eager, rounding[0], 0), exact, RULE)
    assert outcome.agrees
    assert outcome.coarse == (1,)
    assert outcome.compared == truth.size

    wrong = candidate.copy()
    wrong[0, 0] += 1e-3
    assert not compare(both(wrong, rounding[1], 0), both(eager, rounding[0], 0), exact, RULE).agrees
    gross = compare(both(candidate, rounding[1], 0.5), both(eager, rounding[0], 0), exact, RULE)
    assert not gross.agrees
    assert gross.problem.startswith("output 1: ")


def test_masked_elements_are_not_compared_and_counted():
    truth = np.random.default_rng(10).standard_normal((4, 3, 6, 16))
    eager, candidate = answers(truth)
    mask = np.ones((3, 6), bool)
    mask[:, 4:] = False
    candidate[:, :, 4:] += 1

    assert not judged(candidate, eager, truth).agrees
    outcome = judged(candidate, eager, truth, masks=[[mask]] * 4)
    assert outcome.agrees
    assert outcome.uncompared == {"masked": 4 * 3 * 2 * 16}
    assert outcome.compared == truth.size - outcome.uncompared["masked"]
    candidate[0, 0, 0, 0] += 1e-3
    assert not judged(candidate, eager, truth, masks=[[mask]] * 4).agrees


def test_what_compares_nothing_says_so():
    nothing = np.zeros((2, 0, 6))
    assert judged(nothing, nothing, nothing).nothing
    all_masked = np.ones((2, 3, 6))
    assert judged(all_masked, all_masked, all_masked, masks=[[np.zeros(3, bool)]] * 2).nothing
    assert not judged(all_masked, all_masked, all_masked).nothing


def test_a_number_that_decides_and_is_none_is_an_error_of_the_harness(monkeypatch):
    truth = np.ones((2, 4, 4))
    monkeypatch.setattr(parts, "_over", lambda value, allowed: math.nan)
    with pytest.raises(
        UndecidableError, match="output 0: how close it comes to its limit is not a number"
    ):
        judged(truth, truth, truth)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("expected", lambda given: replace(given, own=given.own * math.inf)),
        ("_shares", lambda values, _: np.full(values.shape, math.nan)),
    ],
)
def test_nor_is_a_part_that_cannot_be_decided_a_pass(monkeypatch, name, broken):
    truth = np.random.default_rng(16).standard_normal((4, 8, 16))
    eager, candidate = answers(truth)
    candidate[0][0][0] *= 1.001  # nothing is decided of parts that are as they should be
    monkeypatch.setattr(parts, name, broken)
    with pytest.raises(
        UndecidableError, match="output 0: how close it comes to its limit is not a number"
    ):
        judged(candidate, eager, truth)


@pytest.mark.parametrize("size", [1e60, 1e200, 1e-60, 1e-200])
def test_squares_that_overflow_decide_nothing(size):
    """Of doubles beyond 1e70 it is compared that they are so large."""
    truth = np.random.default_rng(13).standard_normal((2, 4, 8)) * size
    double = [[one] for one in truth]
    assert compare(double, double, double, RULE).agrees
    turned = [[one * np.where(np.arange(8) == 3, -1.0, 1)] for one in truth]
    assert compare(turned, double, double, RULE).agrees is (size == 1e-200)


def test_the_numbers_of_the_first_rule_are_kept_beside():
    truth = np.random.default_rng(12).standard_normal((4, 8, 16))
    eager, candidate = answers(truth, noise=1e-6)
    outcome = judged(candidate, eager, truth)
    error = np.linalg.norm(float32(candidate) - truth) / np.linalg.norm(truth)
    assert outcome.whole["error"] == pytest.approx(error)
    assert outcome.error == pytest.approx(error)
    assert rule.FILL < 1


def test_twins_of_eager_tell_of_noise_that_one_run_does_not_show():
    """An element near zero where eager happened to be right, and is not in other runs of the same
    arithmetic.
    """
    rng = np.random.default_rng(14)
    truth = rng.standard_normal((4, 8, 64)) * np.where(rng.random((4, 8, 64)) < 0.1, 1e-4, 1.0)
    eager, candidate = answers(truth, np.abs(truth))
    place = tuple(np.argwhere(np.abs(truth) < 1e-4)[3])
    candidate[place] += 3e-6
    twins = [answers(truth, np.abs(truth), seed=seed)[0] for seed in (1, 2)]
    for sign, twin in zip((1, -1), twins, strict=True):
        twin[place] += sign * 2e-6

    def sets(array):
        return [[float32(one)] for one in array]

    assert not judged(candidate, eager, truth).agrees
    assert judged(candidate, eager, truth, perturbed=[sets(twin) for twin in twins]).agrees
    elsewhere = candidate.copy()
    elsewhere[tuple(np.argwhere(np.abs(truth) < 1e-4)[4])] += 3e-5
    assert not judged(elsewhere, eager, truth, perturbed=[sets(twin) for twin in twins]).agrees


@pytest.mark.parametrize("fault", [1.001, 1.01, 1.5])
def test_a_fault_beside_a_level_in_which_eager_is_too_coarse_is_found(fault):
    """What excuses the one must not excuse the other: not even a fault of less than a hundred times
    eager's error.
    """
    rng = np.random.default_rng(15)
    truth = rng.choice([-1.0, 1.0], (4, 8, 64)) * np.where(np.arange(64) < 8, 1e-4, 1.0)
    noise = np.where(np.arange(64) < 8, 1e-2, 1e-5) * np.abs(truth)
    eager, candidate = (truth + noise * rng.standard_normal(truth.shape) for _ in range(2))
    sound = judged(candidate, eager, truth)
    assert sound.agrees
    assert sound.coarse == ()
    assert sound.uncompared == {"too coarse in eager": 4 * 8 * 8}
    candidate[..., 20:] *= fault

    assert not judged(candidate, eager, truth).agrees


@pytest.mark.parametrize("piece", [5, 64])
@pytest.mark.parametrize("fault", [0.0, 1e-3])
@pytest.mark.parametrize("masked", [False, True])
def test_an_output_is_judged_alike_in_pieces_of_any_size(monkeypatch, piece, fault, masked):
    random = np.random.default_rng(17)
    truth, filled = fills(random, np.finfo(np.float64).min)
    eager, candidate = (
        np.clip(one, -3.4e38, None) for one in answers(truth, noise=NOISE * ~filled)
    )
    candidate[2, 5, np.flatnonzero(~filled[2, 5])[0]] *= 1 + fault
    masks = [[random.random((8,)) < 0.9]] * 4 if masked else None
    if masks:
        masks[0][0][5] = True

    whole = judged(candidate, eager, truth, masks=masks)
    monkeypatch.setattr(elements, "PIECE", piece)
    in_pieces = judged(candidate, eager, truth, masks=masks)

    assert whole.agrees is not bool(fault)
    assert in_pieces.explain() == whole.explain()
    assert in_pieces.share == pytest.approx(whole.share)
    assert in_pieces.whole == pytest.approx(whole.whole)
    assert in_pieces.uncompared == whole.uncompared
    assert in_pieces.compared == whole.compared
    assert in_pieces.worst == whole.worst


@pytest.mark.parametrize("seed", range(40))
def test_what_the_first_look_passes_the_second_would_have_passed(seed):
    """Random magnitudes, noise and faults around what is allowed; the first look is the stricter
    one.
    """
    random = np.random.default_rng(seed)
    truth = random.standard_normal((4, 6, 8)) * 10.0 ** random.integers(-4, 4, (1, 1, 8))
    truth[random.random(truth.shape) < 0.2] *= 1e-3
    eager, candidate = answers(truth, np.abs(truth) + 0.1, seed=seed)
    candidate[..., seed % 8] *= 1 + 10 ** random.uniform(-7, -5)
    given = elements.Elements(
        0,
        [[float32(one)] for one in candidate],
        [[float32(one)] for one in eager],
        [[one] for one in truth],
        None,
    )
    every = given.judged(elements.Seen())
    tally = sums.summed([every], given.grid, given.total, small=RULE.ratio * RULE.floor)
    bands = parts.doubtful(tally.beyond)
    first = parts.first_look(tally.cuts(), tally.lowest, bands, RULE)
    second = parts.worst(every.only(bands[every.bands[0]]), RULE)
    assert (first is None) == (second is None)
    if first is not None:
        assert second.share <= first.share * (1 + 1e-9)


def test_a_band_is_looked_at_with_the_one_above():
    assert parts.doubtful(np.array([True, False, False, True])).tolist() == [
        True,
        True,
        False,
        True,
    ]


def test_small_numbers_of_a_short_dtype_are_compared_by_their_size():
    """One step of half beside 0.05 is 3e-5, which is below its smallest normal number, and a
    thousandth of 0.05.
    """
    truth = (
        np.random.default_rng(18)
        .uniform(0.03, 0.06, (4, 8, 16))
        .astype(np.float16)
        .astype(np.float64)
    )
    truth[0, 0, 0] = 0.0
    half = [[one.astype(np.float16)] for one in truth]
    off = [[np.nextafter(one, np.float16(1))] for (one,) in half]
    assert compare(half, half, [[one] for one in truth], RULE).agrees
    assert not compare(off, half, [[one] for one in truth], RULE).agrees


def test_a_twin_of_eager_is_compared_as_a_candidate_is():
    """The fill is -1.8e308 in float64 and -3.4e38 in float32: by so much no twin of eager's is
    off.
    """
    truth = np.array([np.finfo(np.float64).min, 2.0, 3.0, 4.0])
    eager, twin = (float32([-3.4e38, two, 3.0, 4.0]) for two in (2.0, 2.25))
    twin[2] = np.nan
    given = elements.Elements(0, [[eager]], [[eager]], [[truth]], None)
    assert given.off_by([[twin]], np.array([0, 1, 2])).tolist() == [0, 0.25, 0]
