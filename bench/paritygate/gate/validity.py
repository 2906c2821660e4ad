"""Is the run valid? Judges control cells, in which base is measured against a second copy of
itself. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from paritygate.core.record import Verdict
from paritygate.gate.verdict import Decided

FEWEST, MANY, FROM = 2, 8, 30  # controls of a run; as many as MANY from FROM cells on
SIDE_BIAS, SIDE_P, LASTING_P = 0.005, 0.01, 0.02
SPREAD, SPREAD_P = 1.5, 0.001
ORDER, ORDER_P = 0.01, 0.001
TREND = 0.5


def controls_wanted(cells: int) -> int:
    """Return the number of control cells for a run of that many cells."""
    return min(cells, MANY if cells >= FROM else FEWEST)


def problems(controls: Mapping[str, Decided], d: Mapping[str, ArrayLike]) -> list[str]:
    """Return the reasons that make the run invalid. ``d``: the launch pairs of stage 1 of each
    control.
    """
    found = [
        f"control {cell}: base was {decided.estimate.effect:+.1%} against itself ({decided.verdict})"
        for cell, decided in controls.items()
        if decided.verdict in (Verdict.REGRESSED, Verdict.IMPROVED, Verdict.UNSTABLE)
    ]
    usable = {
        cell: np.asarray(values, float) for cell, values in d.items() if len(np.asarray(values)) > 1
    }
    means = np.array([values.mean() for values in usable.values()])
    if len(means) and abs(np.median(means)) > SIDE_BIAS:
        ahead = int((means > 0).sum())
        n = min(len(values) for values in usable.values())
        # one launch may be slow in all cells
        launches = np.mean([values[:n] for values in usable.values()], axis=0)
        lasting = launches.std() == 0 or stats.ttest_1samp(launches, 0).pvalue < LASTING_P
        if lasting and stats.binomtest(ahead, len(means)).pvalue < SIDE_P:
            found.append(
                f"side bias: in {max(ahead, len(means) - ahead)} of {len(means)} controls the same side is slower, "
                f"in the median by {abs(np.median(means)):.1%}"
            )
    z = [_z(values) for values in usable.values()]
    if len(z) >= MANY:
        spread = float(stats.median_abs_deviation(z, scale="normal"))
        if spread > SPREAD and stats.chi2.sf(float(np.var(z) * len(z)), len(z) - 1) < SPREAD_P:
            found.append(
                f"spread: controls scatter {spread:.1f} times as far as their launches predict"
            )
    return found


def warnings(abba: ArrayLike, baab: ArrayLike, d: Sequence[ArrayLike]) -> list[str]:
    """Return the warnings of a valid run.

    ``abba`` and ``baab``: the cell means of quads in each order. ``d``: the values of each cell.
    """
    found = []
    effect = (np.asarray(abba, float) - np.asarray(baab, float)) / 2
    if (
        len(effect) > 2
        and abs(effect.mean()) > ORDER
        and stats.ttest_1samp(effect, 0).pvalue < ORDER_P
    ):
        found.append(
            f"order effect: the side measured first in a quad differs by {effect.mean():+.1%}"
        )
    places = (
        np.concatenate([np.arange(len(np.asarray(values))) for values in d]) if d else np.zeros(0)
    )
    values = (
        np.concatenate([np.asarray(v, float) - np.mean(np.asarray(v, float)) for v in d])
        if d
        else np.zeros(0)
    )
    if len(places) > 10 and values.std() > 0:
        trend = float(stats.spearmanr(places, values).statistic)
        if abs(trend) > TREND:
            found.append(
                f"drift: head against base changes over the run (rank correlation {trend:+.2f})"
            )
    return found


def _z(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """Return the mean over its standard error, as a standard normal value."""
    n = len(values)
    error = values.std(ddof=1) / np.sqrt(n)
    if error == 0:
        return 0.0
    t = float(values.mean() / error)
    return float(np.sign(t) * stats.norm.isf(stats.t.sf(abs(t), n - 1)))
