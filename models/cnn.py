"""Convolutional classifiers of small images.

Shapes: B batch, C channels (1 grey, 3 colour). Images are (B, C, height, width), logits (B, 10).
Both networks end in 64 maps of 6x6, hence ``64 * 6 * 6`` features into the first linear layer.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional


class DigitsCNN(nn.Module):
    """Two convolutions without padding, one pooling, two linear layers: 1x16x16 images to ten
    logits.

    The side lengths are 16, 14, 12 and, after pooling, 6.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.fc1 = nn.Linear(64 * 6 * 6, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 1, 16, 16) to logits (B, 10)."""
        x = functional.relu(self.conv1(images))
        x = functional.relu(self.conv2(x))
        x = functional.max_pool2d(x, 2).flatten(1)
        x = functional.relu(self.fc1(x))
        return self.fc2(x)


class RgbCNN(nn.Module):
    """Two padded convolutions, each followed by pooling, and two linear layers: 3x24x24 images to
    ten logits.

    The side lengths are 24, after the first pooling 12, after the second 6.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(64 * 6 * 6, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, 24, 24) to logits (B, 10)."""
        x = functional.max_pool2d(functional.relu(self.conv1(images)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2).flatten(1)
        x = functional.relu(self.fc1(x))
        return self.fc2(x)


def digit_images(sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor]:
    """Return grey 16x16 images (B, 1, 16, 16) of standard normal pixels, like standardised
    images.
    """
    return (torch.randn(sizes["batch"], 1, 16, 16, generator=generator),)


def rgb_images(sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor]:
    """Return colour 24x24 images (B, 3, 24, 24) of standard normal pixels, like standardised
    images.
    """
    return (torch.randn(sizes["batch"], 3, 24, 24, generator=generator),)
