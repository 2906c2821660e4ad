"""From block times to one number for each launch pair: ABBA quads and their trimmed mean. Pure.

The unit of replication is the process, not the iteration. Calls within one process share its memory
layout; a tool that treats them as independent raises false alarms. So all measurements within a
launch pair only make its one number more precise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

FEWEST, MOST = 4, 12  # quads in a launch pair, of some 0.14 s each
TRIM = 0.2
# sd of launch pairs on a shared machine, see reports/evidence/aa.csv; the standard error within a
# launch may be half of it
EXPECTED_SPREAD = 0.012
# A is base, B is head; the order is drawn at random, because a fixed one aliases with periodic noise
ORDERS = ("ABBA", "BAAB")


def quad(base: ArrayLike, head: ArrayLike) -> Any:
    """Return ln(head/base) of the two blocks of each side along the last axis. Linear drift cancels
    in both orders.
    """
    return (np.log(np.asarray(head, float)).sum(-1) - np.log(np.asarray(base, float)).sum(-1)) / 2


def trimmed_mean(values: ArrayLike) -> Array:
    """Return the mean along the last axis, without a fifth of the weight at each end.

    Fractions count: of four values, the smallest and the largest keep a fifth of their weight each.
    Tukey & McLaughlin 1963 drop whole values only. With four values they drop none, and one outlier
    would then move the launch.
    """
    ordered = np.sort(np.asarray(values, float), axis=-1)
    n = ordered.shape[-1]
    place = np.arange(n)
    weight = np.clip(np.minimum(place + 1, n - place) - TRIM * n, 0.0, 1.0)
    return np.asarray((ordered * weight).sum(-1) / weight.sum())


def standard_error(values: ArrayLike) -> Array:
    """Return the standard error of the mean of a launch's quads, along the last axis. It is not
    trimmed, so that an outlier asks for more quads.
    """
    values = np.asarray(values, float)
    return np.asarray(values.std(-1, ddof=1) / np.sqrt(values.shape[-1]))


def enough(values: ArrayLike) -> NDArray[np.bool_]:
    """Return whether a launch pair needs no further quad. It looks only at the spread, never at the
    sign, so it causes no bias.
    """
    values = np.asarray(values, float)
    n = values.shape[-1]
    if n < FEWEST:
        return np.zeros(values.shape[:-1], bool)
    return np.asarray((n >= MOST) | (standard_error(values) <= EXPECTED_SPREAD / 2))
