"""The network of digits that suites use, trained as they train it."""

from __future__ import annotations

import pytest
import torch

from models import digits


@pytest.mark.usefixtures("trained")
def test_the_trained_network_is_right_about_97_percent_of_the_held_out_digits():
    network = digits.trained().eval()
    images, labels = digits.held_out()
    with torch.inference_mode():
        accuracy = (network(*images).argmax(1) == labels).float().mean().item()
    assert accuracy >= 0.97
