"""Compressed networks: how small, how accurate, that zeros stay zero, and that a student learns
from its teacher.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from models import compression, digits, weights
from models.cnn import DigitsCNN
from paritygate.parity.accuracy import paired_accuracy

MARGIN = 0.03  # of accuracy, that a compressed network may lose: the interval's lower end must lie above it
VARIANTS = ("dynamic_int8", "pruned", "pruned_channels", "distilled")

# What torch's and onnx's own code says of itself while it exports.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]


@pytest.fixture(scope="module")
def plain(trained):
    return digits.trained().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def compressed(plain):
    before = torch.random.get_rng_state()
    made = {name: getattr(compression, name)(plain) for name in VARIANTS}
    assert torch.equal(torch.random.get_rng_state(), before)
    return made


def right(network) -> np.ndarray:
    """Which held-out digits are answered rightly."""
    (images,), labels = digits.held_out()
    with torch.no_grad():
        return (network(images).argmax(1) == labels).numpy()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_compressed_network_is_about_as_accurate_as_the_original(plain, compressed, name):
    difference, low, high = paired_accuracy(right(plain), right(compressed[name]))

    assert -MARGIN < low <= difference <= high


def test_what_became_smaller_and_what_did_not(plain, compressed):
    facts = {name: compressed[name].facts() for name in VARIANTS}
    original = weights.size(plain.state_dict())

    assert {told["original_bytes"] for told in facts.values()} == {original}
    share = {name: told["size_bytes"] / original for name, told in facts.items()}
    assert share["pruned"] == pytest.approx(1, abs=0.001)
    assert share["pruned_channels"] < 0.51
    assert share["dynamic_int8"] < 0.27
    assert share["distilled"] < 0.08


@pytest.mark.parametrize("name", VARIANTS)
def test_a_second_one_is_made_of_what_is_kept_and_answers_the_same(
    plain, compressed, trained, name
):
    (images,), _ = digits.held_out()
    files = sorted(trained.iterdir())
    again = getattr(compression, name)(plain)

    with torch.no_grad():
        assert torch.equal(again(images), compressed[name](images))
    assert again.facts().get("cold", False) is False
    assert sorted(trained.iterdir()) == files


def test_of_other_weights_another_one_is_made(plain, trained, monkeypatch):
    taught = []
    monkeypatch.setattr(
        compression, "distil", lambda teacher: taught.append(teacher) or teacher.state_dict()
    )
    other = copy.deepcopy(plain)
    other.fc2.bias += 1

    assert compression.distilled(other).facts()["cold"] is True
    assert compression.distilled(other).facts()["cold"] is False
    assert len(taught) == 1


# -- 8-bit weights


def test_every_layer_computes_with_integers(compressed):
    assert compressed["dynamic_int8"].facts()["integer_operators"] == {
        "ConvInteger": 2,
        "MatMulInteger": 2,
    }


def test_logits_move_by_what_8_bits_can_tell_and_no_more(plain, compressed):
    (images,), _ = digits.held_out()
    exact = plain(images)
    error = torch.linalg.norm(compressed["dynamic_int8"](images) - exact) / torch.linalg.norm(exact)

    assert 1e-4 < error < 2e-2


@pytest.mark.parametrize("size", [1, 7])
def test_any_batch_is_answered(compressed, size):
    (images,), _ = digits.held_out()
    for network in compressed.values():
        assert network(images[:size]).shape == (size, 10)


def test_what_cannot_be_quantised_is_told(plain):
    with pytest.raises(
        NotImplementedError,
        match=r"a float32 network on a CPU can be quantised, not torch\.bfloat16 on cpu",
    ):
        compression.dynamic_int8(copy.deepcopy(plain).bfloat16())


# -- zeros


def test_half_of_the_weights_are_zero_for_good(plain, compressed):
    assert compression.nonzero_share(plain) == 1
    assert compressed["pruned"].facts()["nonzero_share"] == pytest.approx(0.5, abs=1e-5)
    assert set(compressed["pruned"].state_dict()) == set(plain.state_dict())
    assert not prune.is_pruned(compressed["pruned"])


def test_what_is_left_out_are_the_smallest_weights_of_all(plain, compressed):
    layers = [
        (getattr(plain, name).weight, getattr(compressed["pruned"], name).weight)
        for name in compression.LAYERS
    ]
    largest_gone = max(before[after == 0].abs().max() for before, after in layers)
    smallest_left = min(before[after != 0].abs().min() for before, after in layers)

    assert largest_gone <= smallest_left
    assert all(torch.equal(before[after != 0], after[after != 0]) for before, after in layers)


def test_a_single_weight_that_came_back_is_noticed(compressed):
    network = copy.deepcopy(compressed["pruned"])
    place = (network.fc1.weight == 0).nonzero()[0]
    network.fc1.weight[*place] = 1e-6

    with pytest.raises(
        compression.NotPruned, match=r"weights are zero, 50\.0000% must be: some came back"
    ):
        network.facts()


def test_a_training_that_forgets_the_mask_is_noticed(compressed):
    network = copy.deepcopy(compressed["pruned"]).requires_grad_(True)
    learnt, _ = digits.load()
    loss = torch.nn.functional.cross_entropy(network(learnt.images[:32]), learnt.labels[:32])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    loss.backward()
    optimizer.step()

    with pytest.raises(compression.NotPruned, match="some came back"):
        network.facts()


def test_a_mask_that_was_not_made_permanent_is_noticed(plain):
    network = copy.deepcopy(plain)
    prune.l1_unstructured(network.fc1, "weight", amount=0.9)

    with pytest.raises(
        compression.NotPruned, match=r"masks are still applied in every call.*prune\.remove"
    ):
        compression.check_pruned(network, 0.5)


def test_without_its_zero_channels_a_network_answers_the_same(plain):
    stay = torch.arange(64) % 3 == 0
    masked = copy.deepcopy(plain)
    masked.conv2.weight[~stay] = 0
    small = compression.Compressed(compression.without_channels(masked, stay))
    (images,), _ = digits.held_out()

    assert small.conv2.weight.shape == (22, 32, 3, 3)
    assert torch.allclose(small(images), masked(images), atol=1e-4)
    assert not torch.allclose(small(images), plain(images), atol=1e-1)


def test_the_channels_that_stay_are_those_of_the_largest_norm(plain, compressed):
    norms = plain.conv2.weight.flatten(1).norm(dim=1)
    largest = norms.topk(32).indices.sort().values

    assert torch.equal(compressed["pruned_channels"].conv2.weight, plain.conv2.weight[largest])
    assert compressed["pruned_channels"].facts()["nonzero_share"] == 1


# -- distillation


def test_the_loss_is_the_formula():
    student, teacher = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([[0.0, 3.0, 1.0]])
    p, q = (teacher / 2).softmax(1), (student / 2).softmax(1)
    expected = 4 * (p * (p / q).log()).sum() - student.softmax(1)[0, 1].log()

    assert compression.distillation_loss(
        student, teacher, torch.tensor([1]), 2.0
    ).item() == pytest.approx(expected.item())


def test_a_student_learns_from_its_teacher(plain, compressed):
    """Of one that confuses all classes it learns nothing, though it is told the right labels
    too.
    """
    confused = copy.deepcopy(plain)
    order = torch.arange(10).roll(1)
    confused.fc2.weight, confused.fc2.bias = (
        torch.nn.Parameter(value[order], requires_grad=False)
        for value in (plain.fc2.weight, plain.fc2.bias)
    )
    student = compression.Compressed(compression.distil(confused, epochs=2))

    assert right(confused).mean() < 0.05
    assert right(student).mean() < 0.5 < right(compressed["distilled"]).mean()


def test_teaching_is_deterministic_and_follows_its_seed(plain):
    with torch.inference_mode():
        first = compression.distil(plain, epochs=1)
    again, other = compression.distil(plain, epochs=1), compression.distil(plain, epochs=1, seed=1)

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["fc2.weight"], other["fc2.weight"])


def test_a_compressed_network_has_the_dtype_of_its_original(plain):
    for make in (compression.pruned, compression.pruned_channels, compression.distilled):
        assert {value.dtype for value in make(copy.deepcopy(plain).bfloat16()).parameters()} == {
            torch.bfloat16
        }


def test_the_network_type_is_the_original_one(compressed):
    assert all(isinstance(compressed[name], DigitsCNN) for name in VARIANTS[1:])
