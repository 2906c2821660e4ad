"""Is a change so large that two or three launch pairs decide it? Pure.

The tests of ``verdict.py`` need eight launch pairs or more. A change is *gross* if every launch pair
lies beyond ``LIMIT``, all in one direction. Launch pairs of equal code do not get there: of 1,448,
none was 20 % off. They are those of ``aa.csv``, ``planted.csv`` and ``laboratory.csv`` in
``reports/evidence``. Where only the mean m and the sd s of n pairs are known, none of these is
beyond m plus s (n - 1) / sqrt(n).

It is assumed that ``CHANCE`` of them do, ten times as many as these allow at 95 %. A machine on
which it happens more often shows that: the pairs beyond the limit are counted over the cells whose
pairs are not all on one side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from paritygate.core.record import Verdict
from paritygate.gate.request import Margins
from paritygate.gate.verdict import GROSS_SHARE, Estimate

LIMIT = math.log(1.3)
CHANCE = 0.01  # of a launch pair of equal code to lie beyond the limit, in one direction
LOOKS = (2, 3)  # launch pairs


def gross(
    d: Mapping[str, Sequence[float]],
    all_d: Sequence[Sequence[float]],
    margins: Margins,
    accepted: Mapping[str, float],
) -> dict[str, Verdict]:
    """Return the cells with a gross change: *regressed* or *improved*.

    ``d``: the launch pairs of each open cell, of all the same number. ``all_d``: those of every cell
    that was launched. ``accepted``: cell -> its accepted slowdown, as a share, to which the limit
    is added.
    """
    launches = len(next(iter(d.values()), ()))
    if launches not in LOOKS:
        return {}
    p = _chance(all_d) ** launches
    if p * len(all_d) * len(LOOKS) > margins.alpha * GROSS_SHARE:
        return {}
    found = {}
    for cell, values in d.items():
        if min(values) > math.log1p(accepted.get(cell, 0.0)) + LIMIT:
            found[cell] = Verdict.REGRESSED
        elif max(values) < -LIMIT:
            found[cell] = Verdict.IMPROVED
    return found


def within_limit(estimate: Estimate, d: Sequence[float]) -> Estimate:
    """Return the estimate with an interval that ends at most the limit beyond the pairs: no pair is
    farther than that from the true effect, by the same assumption.
    """
    low, high = math.expm1(min(d) - LIMIT), math.expm1(max(d) + LIMIT)
    return replace(estimate, low=max(estimate.low, low), high=min(estimate.high, high))


def _chance(all_d: Sequence[Sequence[float]]) -> float:
    """Return the chance of a launch pair of equal code to lie beyond the limit: the assumed one, or
    that of cells whose pairs are on both sides of it.
    """
    mixed = [np.asarray(values) for values in all_d if 0 < _beyond(values) < len(values)]
    if not mixed:
        return CHANCE
    beyond = sum(int((np.abs(values) > LIMIT).sum()) for values in mixed)
    total = sum(len(values) for values in all_d)
    return max(CHANCE, beyond / total)


def _beyond(values: Sequence[float]) -> int:
    """Return the number of pairs beyond the limit in the direction that has most of them."""
    d = np.asarray(values)
    return max(int((d > LIMIT).sum()), int((d < -LIMIT).sum()))
