"""Accuracy: its interval, and the difference of two models on the same samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Z = 1.959963984540054  # the 97.5 % quantile of the standard normal distribution, for 95 % intervals


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of ``n`` samples (Wilson 1927)."""
    centre, shrink = share + Z**2 / (2 * n), 1 + Z**2 / n
    half = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return (centre - half) / shrink, (centre + half) / shrink


def paired_accuracy(
    original: Sequence[bool] | np.ndarray, compressed: Sequence[bool] | np.ndarray
) -> tuple[float, float, float]:
    """Return the difference of two accuracies on the same N samples, compressed less original, and
    the ends of its 95 % interval.

    ``original`` and ``compressed`` (N,) hold whether each sample was answered correctly. The
    results are shares, -1 to 1. The interval is method 10 of Newcombe, "Improved confidence
    intervals for the difference between binomial proportions based on paired data", Statistics in
    Medicine 17 (1998): Wilson's intervals of both accuracies, joined by their correlation. Unlike a
    t interval it holds near 100 %, and is not empty where all answers agree. Raises ``ValueError``
    for arrays that are empty or of different shapes.
    """
    import numpy as np

    old, new = np.asarray(original, dtype=bool), np.asarray(compressed, dtype=bool)
    if old.shape != new.shape or old.ndim != 1 or not old.size:
        raise ValueError(
            f"two accuracies are compared on the same samples: shapes are {old.shape} and {new.shape}"
        )
    n, both, neither = old.size, int((old & new).sum()), int((~old & ~new).sum())
    p, q = float(new.mean()), float(old.mean())
    (p_low, p_high), (q_low, q_high) = wilson(p, n), wilson(q, n)
    phi = _correlation(both, int((new & ~old).sum()), int((old & ~new).sum()), neither)
    below = _joined(p - p_low, q_high - q, phi)
    above = _joined(p_high - p, q - q_low, phi)
    return p - q, p - q - below, p - q + above


def _joined(one: float, other: float, phi: float) -> float:
    """Return the length of the difference of two errors with correlation ``phi``."""
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))


def _correlation(both: int, first: int, second: int, neither: int) -> float:
    """Return the correlation phi of two properties, from the number of samples that have both, one
    or none. A positive one is corrected downwards.
    """
    n = both + first + second + neither
    product = (both + first) * (second + neither) * (both + second) * (first + neither)
    if not product:
        return 0.0
    excess = both * neither - first * second
    return (max(excess - n / 2, 0) if excess > 0 else excess) / math.sqrt(product)
