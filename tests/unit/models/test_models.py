"""The small networks: shapes, parameter counts, what they compute, and what importing them
costs.
"""

import copy

import pytest
import torch
from torch.nn import functional

from models import cnn, mlp


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(model):
    torch.manual_seed(0)
    return model().eval()


def parameters(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


NETWORKS = [
    (cnn.DigitsCNN, cnn.digit_images, (1, 16, 16), 320 + 18_496 + 295_040 + 1_290),
    (cnn.RgbCNN, cnn.rgb_images, (3, 24, 24), 896 + 18_496 + 295_040 + 1_290),
    (mlp.MLP, mlp.flat_images, (784,), 100_480 + 1_290),
    (mlp.SoftmaxMLP, mlp.flat_images, (784,), 100_480 + 1_290),
]


@pytest.mark.parametrize(("model", "inputs", "image", "count"), NETWORKS)
def test_shapes_and_parameter_counts(model, inputs, image, count):
    network = built(model)
    (images,) = inputs({"batch": 3}, seeded())
    assert images.shape == (3, *image)
    assert network(images).shape == (3, 10)
    assert parameters(network) == count


def test_both_cnns_have_2304_features_before_the_first_linear_layer():
    assert cnn.DigitsCNN().fc1.in_features == cnn.RgbCNN().fc1.in_features == 64 * 6 * 6 == 2304


@pytest.mark.parametrize(("model", "inputs", "image", "count"), NETWORKS)
def test_float64_agrees_with_float32(model, inputs, image, count):
    network = built(model)
    (images,) = inputs({"batch": 5}, seeded())
    exact = copy.deepcopy(network).double()(images.double())
    assert exact.dtype == torch.float64
    assert torch.linalg.norm(network(images) - exact) < 2e-6 * torch.linalg.norm(exact)


@pytest.mark.parametrize(("model", "inputs", "image", "count"), NETWORKS)
def test_the_same_seed_gives_the_same_inputs_and_weights(model, inputs, image, count):
    assert torch.equal(inputs({"batch": 4}, seeded(7))[0], inputs({"batch": 4}, seeded(7))[0])
    assert not torch.equal(inputs({"batch": 4}, seeded(7))[0], inputs({"batch": 4}, seeded(8))[0])
    (images,) = inputs({"batch": 2}, seeded())
    assert torch.equal(built(model)(images), built(model)(images))


def test_softmax_mlp_gives_probabilities_of_its_logits():
    network = built(mlp.SoftmaxMLP)
    (images,) = mlp.flat_images({"batch": 6}, seeded())
    probabilities = network(images)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(6))
    torch.testing.assert_close(probabilities, functional.softmax(network.logits(images), dim=1))
    twin = built(mlp.MLP)
    torch.testing.assert_close(network.logits(images), twin(images), rtol=0, atol=0)


def test_mlp_flattens_images():
    network = built(mlp.MLP)
    (flat,) = mlp.flat_images({"batch": 2}, seeded())
    assert torch.equal(network(flat), network(flat.view(2, 1, 28, 28)))
