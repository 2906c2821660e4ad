"""A multi-layer perceptron, with logits and with probabilities.

Shapes: B batch, 784 pixels of a 28x28 image, 10 classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional


class MLP(nn.Module):
    """Flatten, linear, ReLU, linear: from 784 pixels through 128 hidden units to ten logits."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 784) or (B, 28, 28) or (B, 1, 28, 28) to logits (B, 10)."""
        return self.fc2(functional.relu(self.fc1(images.flatten(1))))


class SoftmaxMLP(MLP):
    """The MLP with probabilities as its answer.

    A loss needs ``logits(images)``: ``CrossEntropyLoss`` computes the softmax itself. With
    probabilities as its input the model learns slowly, and to a wrong confidence.
    """

    def logits(self, images: Tensor) -> Tensor:
        """Map (B, 784) to logits (B, 10), for the loss."""
        return super().forward(images)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 784) to probabilities (B, 10). Every row sums to 1."""
        return self.logits(images).softmax(dim=1)


def flat_images(sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor]:
    """Return flat images (B, 784) of standard normal pixels."""
    return (torch.randn(sizes["batch"], 784, generator=generator),)
