"""What a training needs beside its model: optimizers, and batches with labels.

Shapes: B batch, labels int64 (B,). A batch is ``(inputs, labels)``, where the model is called with
the inputs: a tuple of positional or a dict of keyword arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from models import bert, cnn, mlp

Batch = tuple[Any, Tensor]


def sgd(parameters: Iterator[Parameter]) -> Optimizer:
    """Plain stochastic gradient descent, learning rate 0.01."""
    return SGD(parameters, lr=0.01)


def sgd_momentum(parameters: Iterator[Parameter]) -> Optimizer:
    """Stochastic gradient descent, learning rate 0.01, momentum 0.9."""
    return SGD(parameters, lr=0.01, momentum=0.9)


def adam(parameters: Iterator[Parameter]) -> Optimizer:
    """Adam, learning rate 5e-5."""
    return Adam(parameters, lr=5e-5)


def adamw(parameters: Iterator[Parameter]) -> Optimizer:
    """AdamW, learning rate 5e-5: the usual one for fine-tuning a BERT."""
    return AdamW(parameters, lr=5e-5)


def adamw_scratch(parameters: Iterator[Parameter]) -> Optimizer:
    """AdamW, learning rate 5e-4: for a small BERT that nobody has trained before."""
    return AdamW(parameters, lr=5e-4)


def digit_batch(sizes: Mapping[str, int], generator: torch.Generator) -> Batch:
    """Grey images (B, 1, 16, 16) with random classes of ten."""
    return cnn.digit_images(sizes, generator), _labels(sizes, generator, 10)


def rgb_batch(sizes: Mapping[str, int], generator: torch.Generator) -> Batch:
    """Colour images (B, 3, 24, 24) with random classes of ten."""
    return cnn.rgb_images(sizes, generator), _labels(sizes, generator, 10)


def flat_batch(sizes: Mapping[str, int], generator: torch.Generator) -> Batch:
    """Flat images (B, 784) with random classes of ten."""
    return mlp.flat_images(sizes, generator), _labels(sizes, generator, 10)


def sentence_batch(sizes: Mapping[str, int], generator: torch.Generator) -> Batch:
    """Padded pairs of random sentences (B, L) with random classes of two."""
    return bert.padded_mask(sizes, generator), _labels(sizes, generator, 2)


def _labels(sizes: Mapping[str, int], generator: torch.Generator, classes: int) -> Tensor:
    return torch.randint(classes, (sizes["batch"],), generator=generator)
