"""From block times to one number a launch pair: ABBA quads and their trimmed mean. Pure.

The process is the unit of replication, not the iteration: calls within one process share its memory
layout, and treating them as independent is what makes other tools cry wolf. So whatever is measured
within a launch pair only sharpens that launch pair's one number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

FEWEST, MOST = 4, 12  # quads in a launch pair, of some 0.14 s each
TRIM = 0.2
# sd of launch pairs on a shared machine, see reports/evidence/aa.csv; half of it is what a launch
# may leave unknown
EXPECTED_SPREAD = 0.012
# A is base, B is head; drawn by coin, because a fixed order aliases with periodic noise
ORDERS = (
    "ABBA",
    "BAAB",
)


def quad(base: ArrayLike, head: ArrayLike) -> Any:
    """ln(head/base) of the two blocks of either side along the last axis; linear drift cancels in
    both orders.
    """
    return (np.log(np.asarray(head, float)).sum(-1) - np.log(np.asarray(base, float)).sum(-1)) / 2


def trimmed_mean(values: ArrayLike) -> Array:
    """The mean along the last axis without a fifth of the weight at either end.

    Fractions count: of four values the outermost keep a fifth of their weight each (Tukey &
    McLaughlin 1963 drop whole values only, of four none, and one spike would then move the launch).
    """
    ordered = np.sort(np.asarray(values, float), axis=-1)
    n = ordered.shape[-1]
    place = np.arange(n)
    weight = np.clip(np.minimum(place + 1, n - place) - TRIM * n, 0.0, 1.0)
    return np.asarray((ordered * weight).sum(-1) / weight.sum())


def standard_error(values: ArrayLike) -> Array:
    """Of the mean of a launch's quads, along the last axis; not trimmed, so that a spike asks for
    more quads.
    """
    values = np.asarray(values, float)
    return np.asarray(values.std(-1, ddof=1) / np.sqrt(values.shape[-1]))


def enough(values: ArrayLike) -> NDArray[np.bool_]:
    """Whether a launch pair needs no further quad. Looks at spread only, never at sign: so it
    cannot bias.
    """
    values = np.asarray(values, float)
    n = values.shape[-1]
    if n < FEWEST:
        return np.zeros(values.shape[:-1], bool)
    return np.asarray((n >= MOST) | (standard_error(values) <= EXPECTED_SPREAD / 2))
