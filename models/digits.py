"""Real handwritten digits, and the CNN trained on them.

The 1,797 8x8 digits that scikit-learn ships, each pixel doubled to 16x16: what ``DigitsCNN`` takes,
with no network needed. Shapes: N samples; images float32 (N, 1, 16, 16), labels int64 (N,).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from models import cnn
from models.weights import Weights, kept


class Digits(NamedTuple):
    """Images (N, 1, 16, 16) and their labels (N,)."""

    images: Tensor
    labels: Tensor


def load(standardised: bool = True) -> tuple[Digits, Digits]:
    """The 1,437 digits to learn from and the 360 held out; always the same ones.

    Pixels have mean 0 and spread 1 over the digits to learn from, or lie in 0 to 1.
    """
    # brings scipy: half a second that only this function needs
    from sklearn.datasets import (
        load_digits,
    )

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).float().view(-1, 1, 8, 8) / 16
    images = images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    # Every fifth of each digit: the classes keep their shares, and so do the writers, who come one
    # by one.
    order = torch.from_numpy(labels).argsort(stable=True)
    held = torch.zeros(len(order), dtype=torch.bool)
    held[order[::5]] = True
    if standardised:
        images = (images - images[~held].mean()) / images[~held].std()
    targets = torch.from_numpy(labels).long()
    return Digits(images[~held], targets[~held]), Digits(images[held], targets[held])


def train(
    epochs: int = 12, lr: float = 0.01, momentum: float = 0.9, batch: int = 32, seed: int = 0
) -> Weights:
    """The weights of a ``DigitsCNN`` trained by SGD on the digits to learn from: 98 % right in
    about 4 s.

    The same arguments give the same weights on the same machine; the global random state stays
    untouched.
    """
    digits, _ = load()
    generator = torch.Generator().manual_seed(seed)
    # A harness may call from inside inference mode, where nothing can be learnt.
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = cnn.DigitsCNN()
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
        for _ in range(epochs):
            for rows in torch.randperm(len(digits.labels), generator=generator).split(batch):
                optimizer.zero_grad()
                functional.cross_entropy(model(digits.images[rows]), digits.labels[rows]).backward()
                optimizer.step()
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def trained() -> cnn.DigitsCNN:
    """A ``DigitsCNN`` trained once and read from the cache ever after."""
    model = cnn.DigitsCNN()
    model.load_state_dict(weights())
    return model


def weights(**changes: float) -> Weights:
    """The weights that ``train(**changes)`` gives, from the cache where they are; see
    ``models.weights``.
    """
    called = inspect.signature(train).bind(**changes)
    called.apply_defaults()
    recipe = dict(called.arguments)
    return kept("digits_cnn", recipe, (__file__, cnn.__file__), lambda: train(**recipe)).weights


def held_out() -> tuple[tuple[Tensor], Tensor]:
    """The held-out digits as ``((images,), labels)``: what a model is called with, and what is
    right.
    """
    _, digits = load()
    return (digits.images,), digits.labels


def digit_images(sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor]:
    """Held-out digits (B, 1, 16, 16) drawn at random, with repetition."""
    _, digits = load()
    return (
        digits.images[torch.randint(len(digits.labels), (sizes["batch"],), generator=generator)],
    )
