"""Labelled samples: how many are answered rightly, and whether their classes are eager's where
eager is sure.

Shapes: N samples, C classes; logits (N, C), labels (N,).
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from paritygate.core.record import Status
from paritygate.parity.accuracy import paired_accuracy
from paritygate.runtime.nest import mapped

Array = NDArray[Any]

SURE = 4  # times the largest error of the check: a margin between two classes that rounding cannot turn over


def in_batches(answer: Callable[[Any], Array], inputs: Any, total: int, batch: int) -> Array:
    """The answers (N, ...) to ``total`` samples, asked for in batches of one size, the last one
    filled up.
    """
    parts = []
    for start in range(0, total, batch):
        rows = [(start + i) % total for i in range(batch)]
        # like the inputs that were loaded: another kind of tensor recompiles
        with torch.inference_mode(False):
            asked = mapped(inputs, itemgetter(rows))
        parts.append(answer(asked))
    return np.concatenate(parts)[:total]


def accuracy(right: Array, wanted: float | None) -> dict[str, Any]:
    """The part of a record that tells how many samples were answered rightly, failed where fewer
    than ``wanted``.
    """
    found: dict[str, Any] = {"accuracy": float(right.mean()), "accuracy_samples": len(right)}
    if wanted is not None and found["accuracy"] < wanted:
        found["status"] = str(Status.PARITY_FAILED)
        found["reason"] = (
            f"{found['accuracy']:.1%} of the labelled samples are answered rightly, {wanted:.1%} is asked for"
        )
    return found


def against_eager(
    logits: Array, eager: Array, labels: Array, error: float, wanted: float | None
) -> dict[str, Any]:
    """The part of a record that tells what a backend's answers are worth beside eager's.

    ``error``: the largest that was seen where answers were compared with the reference. A sample
    counts as sure when eager's margin between its two best classes is at least ``SURE`` times that;
    of each its class must be eager's.
    """
    ours, theirs = logits.argmax(1), eager.argmax(1)
    best = np.sort(eager.astype(np.float64), axis=1)
    sure = best[:, -1] - best[:, -2] >= SURE * error
    found: dict[str, Any] = {"top1_agreement": float((ours == theirs).mean())}
    if wrong := np.flatnonzero(sure & (ours != theirs)).tolist():
        found["status"] = str(Status.PARITY_FAILED)
        found["reason"] = (
            f"{len(wrong)} of {int(sure.sum())} labelled samples of which eager is sure get another class, "
            f"the first is sample {wrong[0]}: {ours[wrong[0]]}, in eager {theirs[wrong[0]]}"
        )
    found["facts"] = {
        "accuracy_difference": paired_accuracy(theirs == labels, ours == labels),
        "kl_from_eager": _kl(eager, logits),
        "sure_samples": int(sure.sum()),
    }
    return accuracy(ours == labels, wanted) | found


def top1(answers: list[list[Array]], eager: list[list[Array]]) -> float | None:
    """The share of rows whose largest class is eager's, for outputs that look like logits (rows x
    classes).
    """
    if (
        eager[0][0].ndim != 2
        or eager[0][0].shape[1] < 2
        or answers[0][0].shape != eager[0][0].shape
    ):
        return None
    same = [(a[0].argmax(1) == e[0].argmax(1)).mean() for a, e in zip(answers, eager, strict=True)]
    return float(np.mean(same))


def _kl(p_logits: Array, q_logits: Array) -> float:
    """The mean Kullback-Leibler divergence of the softmaxes, in nats."""
    p, q = (torch.log_softmax(torch.from_numpy(x).double(), 1) for x in (p_logits, q_logits))
    return float((p.exp() * (p - q)).sum(1).mean())
