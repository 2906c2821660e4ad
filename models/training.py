"""Optimizers, and batches with labels, for training.

Shapes: B batch, labels int64 (B,). A batch is ``(inputs, labels)``. The model is called with the
inputs: a tuple of positional or a dict of keyword arguments.
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
    """Return plain stochastic gradient descent, learning rate 0.01."""
    return SGD(parameters, lr=0.01)


def sgd_momentum(parameters: Iterator[Parameter]) -> Optimizer:
    """Return stochastic gradient descent, learning rate 0.01, momentum 0.9."""
    return SGD(parameters, lr=0.01, momentum=0.9)


def adam(parameters: Iterator[Parameter]) -> Optimizer:
    """Return Adam, learning rate 5e-5."""
    return Adam(parameters, lr=5e-5)


def adamw(parameters: Iterator[Parameter]) -> Optimizer:
    """Return AdamW, learning rate 5e-5, usual for fine-tuning a BERT."""
    return AdamW(parameters, lr=5e-5)


def adamw_scratch(parameters: Iterator[Parameter]) -> Optimizer:
    """Return AdamW, learning rate 5e-4, for training a small BERT from scratch."""
    return AdamW(parameters, lr=5e-4)


def digit_batch(sizes: Mapping[str, int], generator: torch.Generator) -> Batch:
    """Return grey images (B, 1, 16, 16) with random labels of ten classes."""
    return cnn.digit_images(sizes, generator), _labels(sizes, generator, 10)


def rgb_batch(sizes: Mapping[str, int], generator: torch.Generator) -> Batch:
    """Return colour images (B, 3, 24, 24) with random labels of ten classes."""
    return cnn.rgb_images(sizes, generator), _labels(sizes, generator, 10)


def flat_batch(sizes: Mapping[str, int], generator: torch.Generator) -> Batch:
    """Return flat images (B, 784) with random labels of ten classes."""
    return mlp.flat_images(sizes, generator), _labels(sizes, generator, 10)


def sentence_batch(sizes: Mapping[str, int], generator: torch.Generator) -> Batch:
    """Return padded pairs of random sentences (B, L) with random labels of two classes."""
    return bert.padded_mask(sizes, generator), _labels(sizes, generator, 2)


def _labels(sizes: Mapping[str, int], generator: torch.Generator, classes: int) -> Tensor:
    return torch.randint(classes, (sizes["batch"],), generator=generator)
