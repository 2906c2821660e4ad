"""Labelled samples: a class that was changed where eager is sure is found, one where it is not sure
is forgiven.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from paritygate.core.record import Status
from paritygate.worker import evaluation

SURE = np.array([[9.0, 1.0], [0.0, 8.0], [7.0, -1.0], [2.0, 9.0]])
LABELS = np.array([0, 1, 0, 0])


def test_the_same_answers_are_as_good_as_eager():
    found = evaluation.against_eager(SURE, SURE, LABELS, 1e-6, None)

    assert "status" not in found
    assert (found["accuracy"], found["accuracy_samples"], found["top1_agreement"]) == (0.75, 4, 1.0)
    assert found["facts"]["sure_samples"] == 4
    assert found["facts"]["kl_from_eager"] == pytest.approx(0.0, abs=1e-12)
    difference, low, high = found["facts"]["accuracy_difference"]
    assert difference == 0
    assert low < 0 < high


@pytest.mark.parametrize("wrong", [[1.0, 9.0], [math.nan, 1.0], [1.0, math.inf]])
def test_another_class_is_found_and_named_where_eager_is_sure(wrong):
    ours = SURE.copy()
    ours[2] = wrong if not math.isnan(wrong[0]) else wrong[::-1]

    found = evaluation.against_eager(ours, SURE, LABELS, 0.01, 0.0)

    assert found["status"] == Status.PARITY_FAILED
    assert found["top1_agreement"] == 0.75
    assert found["reason"] == (
        "1 of 4 labelled samples of which eager is sure get another class, the first is sample 2: 1, in eager 0"
    )


def test_another_class_is_forgiven_where_rounding_may_have_made_it():
    eager = np.array([[3.0, 3.05], [9.0, 1.0]])
    ours = np.array([[3.05, 3.0], [9.0, 1.0]])

    found = evaluation.against_eager(ours, eager, np.array([1, 0]), 0.02, None)
    assert "status" not in found
    assert found["facts"]["sure_samples"] == 1
    assert found["top1_agreement"] == 0.5
    assert (
        evaluation.against_eager(ours, eager, np.array([1, 0]), 0.01, None)["status"]
        == Status.PARITY_FAILED
    )


def test_another_class_is_told_before_too_few_right_answers():
    ours = SURE[:, ::-1].copy()

    assert "another class" in evaluation.against_eager(ours, SURE, LABELS, 0.01, 0.8)["reason"]


def test_too_few_right_answers_fail_with_both_shares():
    found = evaluation.against_eager(SURE, SURE, LABELS, 1e-6, 0.8)

    assert found["status"] == Status.PARITY_FAILED
    assert (
        found["reason"] == "75.0% of the labelled samples are answered correctly, 80.0% is required"
    )
    assert "status" not in evaluation.accuracy(np.array([True, False, True, True]), 0.75)


def test_divergence_is_that_of_the_softmaxes():
    one, other = np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])

    found = evaluation.against_eager(other, one, np.array([0]), 1e-6, None)

    expected = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert found["facts"]["kl_from_eager"] == pytest.approx(expected)


def test_batches_are_all_of_one_size_and_no_sample_is_answered_twice():
    asked = []

    def answer(inputs):
        asked.append(inputs["x"].tolist())
        return inputs["x"].numpy() * 10

    answered = evaluation.in_batches(answer, {"x": torch.arange(5)}, total=5, batch=2)

    assert answered.tolist() == [0, 10, 20, 30, 40]
    assert asked == [[0, 1], [2, 3], [4, 0]]


def test_agreement_of_classes_is_told_of_logits_only():
    rows = [[np.array([[1.0, 2.0], [3.0, 0.0]])]]

    assert evaluation.top1(rows, [[np.array([[0.0, 1.0], [0.0, 1.0]])]]) == 0.5
    assert evaluation.top1([[np.ones((2, 1))]], [[np.ones((2, 1))]]) is None
    assert evaluation.top1([[np.ones(3)]], [[np.ones(3)]]) is None
