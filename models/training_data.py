"""Whole trainings: every batch of some epochs, in the order of training.

A batch is ``(inputs, labels)``. All batches have the requested size. Samples that are left over in
one epoch come in another, since each epoch has an order of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from models import corpus, digits, text

DIGIT_EPOCHS, SENTENCE_EPOCHS = 10, 5
LENGTH = 32  # tokens; the longest sentence of the corpus has fewer


def digit_epochs(sizes: Mapping[str, int]) -> Iterator[tuple[tuple[Tensor], Tensor]]:
    """Yield ten epochs of the training digits: images (B, 1, 16, 16) with their labels (B,)."""
    train, _ = digits.load()
    for rows in orders(len(train.labels), sizes["batch"], DIGIT_EPOCHS):
        yield (train.images[rows],), train.labels[rows]


def digit_batch(
    sizes: Mapping[str, int], generator: torch.Generator
) -> tuple[tuple[Tensor], Tensor]:
    """Return a batch of the training digits, drawn at random."""
    train, _ = digits.load()
    rows = torch.randint(len(train.labels), (sizes["batch"],), generator=generator)
    return (train.images[rows],), train.labels[rows]


def sentence_epochs(sizes: Mapping[str, int]) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Yield five epochs of the sentiment corpus: token ids and masks (B, L) with their labels
    (B,).
    """
    split = corpus.load().train
    encoded = text.encode(split.sentences, LENGTH)
    for rows in orders(len(split.labels), sizes["batch"], SENTENCE_EPOCHS):
        yield {name: values[rows] for name, values in encoded.items()}, split.labels[rows]


def held_out() -> tuple[dict[str, Tensor], Tensor]:
    """Return the corpus's test sentences, which are not used for training, with their labels."""
    split = corpus.load().test
    return text.encode(split.sentences, LENGTH), split.labels


def seed_epochs(sizes: Mapping[str, int]) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Yield the four seed sentences, again and again."""
    for _ in range(sizes["epochs"]):
        yield seed_sentences()


def seed_sentences() -> tuple[dict[str, Tensor], Tensor]:
    """Return the four seed sentences with their labels."""
    return text.encode(corpus.SEED_SENTENCES, LENGTH), corpus.SEED_LABELS


def seed_batch(
    _sizes: Mapping[str, int], _generator: torch.Generator
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the four seed sentences with their labels; there are no others to draw."""
    return seed_sentences()


def sentence_batch(
    sizes: Mapping[str, int], generator: torch.Generator
) -> tuple[dict[str, Tensor], Tensor]:
    """Return a batch of the corpus, drawn at random."""
    split = corpus.load().train
    rows = torch.randint(len(split.labels), (sizes["batch"],), generator=generator)
    return text.encode([split.sentences[row] for row in rows.tolist()], LENGTH), split.labels[rows]


def orders(samples: int, batch: int, epochs: int, seed: int = 1) -> Iterator[Tensor]:
    """Yield the rows of every batch (B,) of every epoch, always the same ones."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(samples, generator=generator)
        yield from order[: samples // batch * batch].split(batch)
