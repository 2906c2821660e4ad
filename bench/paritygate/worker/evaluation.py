"""Labelled samples: the share answered correctly, and whether their classes are eager's where eager
is sure.

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

SURE = 4  # times the largest error of the check: rounding cannot reverse a larger margin between two classes


def in_batches(answer: Callable[[Any], Array], inputs: Any, total: int, batch: int) -> Array:
    """Return the answers (N, ...) to ``total`` samples, asked for in batches of one size. The last
    batch is filled up.
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
    """Return the accuracy fields of a record. The status is failed if the accuracy is below
    ``wanted``.
    """
    found: dict[str, Any] = {"accuracy": float(right.mean()), "accuracy_samples": len(right)}
    if wanted is not None and found["accuracy"] < wanted:
        found["status"] = str(Status.PARITY_FAILED)
        found["reason"] = (
            f"{found['accuracy']:.1%} of the labelled samples are answered correctly, {wanted:.1%} is required"
        )
    return found


def against_eager(
    logits: Array, eager: Array, labels: Array, error: float, wanted: float | None
) -> dict[str, Any]:
    """Return the accuracy fields of a record for a backend's answers, compared with eager's.

    ``error``: the largest error that the check saw against the reference. A sample is sure if
    eager's margin between its two best classes is at least ``SURE`` times that error. Every sure
    sample must get eager's class.
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
    """Return the share of rows whose largest class is eager's. Return None unless the outputs look
    like logits (rows x classes).
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
    """Return the mean Kullback-Leibler divergence of the softmaxes, in nats."""
    p, q = (torch.log_softmax(torch.from_numpy(x).double(), 1) for x in (p_logits, q_logits))
    return float((p.exp() * (p - q)).sum(1).mean())
