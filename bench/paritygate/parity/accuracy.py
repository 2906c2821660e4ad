"""Accuracy: how sure it is, and how far apart two models are on the same samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Z = 1.959963984540054  # what a standard normal number exceeds with 2.5 %: for 95 % intervals


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of ``n`` samples (Wilson 1927)."""
    centre, shrink = share + Z**2 / (2 * n), 1 + Z**2 / n
    half = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return (centre - half) / shrink, (centre + half) / shrink


def paired_accuracy(
    original: Sequence[bool] | np.ndarray, compressed: Sequence[bool] | np.ndarray
) -> tuple[float, float, float]:
    """The difference of two accuracies on the same N samples, compressed less original, and its 95
    % interval.

    ``original`` and ``compressed`` (N,) tell which samples were answered rightly. Shares, -1 to 1.
    The interval is method 10 of Newcombe, "Improved confidence intervals for the difference between
    binomial proportions based on paired data", Statistics in Medicine 17 (1998): Wilson's intervals
    of both accuracies, joined by their correlation. Unlike a t interval it holds near 100 %, and is
    not empty where all answers agree. Raises ``ValueError``.
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
    """The length of a difference of two errors of correlation ``phi``."""
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))


def _correlation(both: int, first: int, second: int, neither: int) -> float:
    """The correlation phi of two properties by how many samples have them; a positive one is
    corrected downwards.
    """
    n = both + first + second + neither
    product = (both + first) * (second + neither) * (both + second) * (first + neither)
    if not product:
        return 0.0
    excess = both * neither - first * second
    return (max(excess - n / 2, 0) if excess > 0 else excess) / math.sqrt(product)
