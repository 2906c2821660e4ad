"""The network of digits that suites use, trained as they train it."""

from __future__ import annotations

from pkgutil import resolve_name

import pytest
import torch

from models import digits
from suites.test_cnn import CASES

pytestmark = pytest.mark.usefixtures("trained")


def test_the_trained_network_is_right_about_97_percent_of_the_held_out_digits():
    network = digits.trained().eval()
    images, labels = digits.held_out()
    with torch.inference_mode():
        accuracy = (network(*images).argmax(1) == labels).float().mean().item()
    assert accuracy >= 0.97


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.evaluate is not None], ids=lambda case: case.name
)
def test_labelled_samples_fit_the_model(case):
    inputs, labels = resolve_name(case.evaluate)()
    with torch.inference_mode():
        answers = resolve_name(case.model)().eval()(*inputs).argmax(dim=1)
    assert (answers == labels).double().mean() >= 0.97
