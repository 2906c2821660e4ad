"""Is head slower than base? The two-stage decision over launch pairs. Pure; the same input gives
the same verdict. ``gross.py`` decides large changes earlier.

``D`` is one number for each launch pair: ln(head/base). Stage 1 (*screen*) clears the cells that
are surely the same, in three to six launches, and spends no alpha. Stage 2 (*confirm*) takes fresh
launches of the few cells that are left, so the correction for many comparisons covers only those
few. A cell that cannot be decided is *inconclusive*, with its interval.

All tests are mirrored: swapping base and head swaps *regressed* and *improved* and changes nothing
else. Launches are few, so stage 1 combines the spread of a cell with that of the others (moderated
t, Smyth 2004). Only stage 2 can call a cell slower, and it uses only the cell's own launches.

Sources: Holm 1979; Maurer & Bretz 2013 for its use with several looks. The sign-flip test is exact
for symmetric D. Equal code gives symmetric D, because the order within every pair is drawn at
random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from paritygate.core.record import Verdict
from paritygate.gate.quads import Array
from paritygate.gate.request import Margins

SCREEN_LOOKS = (3, 4, 5, 6)
SCREEN_MISS = 0.05 / len(SCREEN_LOOKS)  # chance to miss a slowdown of `caught`: 5 % over all looks
ROUTE_LOOK, ROUTE_P = 4, 0.02
CONFIRM_LOOKS = (4, 8, 12, 16, 20)
CONFIRM_MISS = 0.005
# degrees of freedom that a cell gets from the others, at most, because cells are not all alike
MOST_SHARED = 8.0
MODE_SHARE = 0.1  # of alpha, for the check of modes
GROSS_SHARE = 0.05  # of alpha, for changes that are decided early; the rest is for means
MODE_SPREADS = 4.0  # a separate cluster is this many spreads within a launch away


@cache  # a run needs a few quantiles many times
def _t(share: float, freedom: float) -> float:
    return float(stats.t.ppf(share, freedom))


class Screened(StrEnum):
    """The result of a look of stage 1 for a cell."""

    SAME = "same"
    ROUTED = "routed"
    MORE = "more"


@dataclass(frozen=True)
class Estimate:
    """The mean of D with its two-sided 95 % interval, as shares: 0.02 is 2 % slower. ``sd``: of
    single launch pairs.
    """

    launches: int
    effect: float
    low: float
    high: float
    sd: float


@dataclass(frozen=True)
class Decided:
    """The verdict on one cell. ``detectable``: the smallest slowdown that would have been found
    with 95 %, infinite if not even its spread is known. ``gross``: decided early.
    """

    verdict: Verdict
    reason: str
    estimate: Estimate
    detectable: float
    gross: bool = False


@dataclass(frozen=True)
class Shared:
    """The spread that the cells of a run have in common: ``variance`` of D, worth ``freedom``
    degrees of freedom to each cell.
    """

    freedom: float = 0.0
    variance: float = 0.0

    def moderate(self, variance: Any, launches: int) -> tuple[Any, float]:
        """Return (the variance of one cell or of many, combined with the common one; its degrees of
        freedom).
        """
        own = launches - 1
        freedom = self.freedom + own
        return (self.freedom * self.variance + own * variance) / freedom, freedom


ALONE = Shared()


def shared(d: Sequence[ArrayLike]) -> Shared:
    """Return the spread of launch pairs that cells have in common. ``d`` holds the cells with two
    launches or more.

    If all cells are alike, log variances scatter by trigamma(df/2). The more they scatter beyond
    that, the less one cell says about another. Method of moments: Smyth 2004, Statistical
    Applications in Genetics 3(1), section 6.2.
    """
    lengths = [len(np.asarray(values)) for values in d]
    alike = [
        np.array([v for v, n in zip(d, lengths, strict=True) if n == length])
        for length in set(lengths)
    ]
    variance = (
        np.concatenate([values.var(-1, ddof=1) for values in alike]) if alike else np.zeros(0)
    )
    own = (
        np.concatenate([np.full(len(values), values.shape[-1] - 1.0) for values in alike])
        if alike
        else np.zeros(0)
    )
    own, variance = own[variance > 0], variance[variance > 0]
    if len(own) < 3:
        return ALONE
    e = np.log(variance) - special.digamma(own / 2) + np.log(own / 2)
    beyond = float(e.var(ddof=1) - special.polygamma(1, own / 2).mean())
    freedom = min(MOST_SHARED, len(own) - 1.0)
    if beyond > float(special.polygamma(1, freedom / 2)):
        freedom = 2 * optimize.brentq(
            lambda half: float(special.polygamma(1, half)) - beyond, 1e-4, freedom / 2
        )
    return Shared(
        freedom, float(np.exp(e.mean() + special.digamma(freedom / 2) - np.log(freedom / 2)))
    )


def screen(
    d: Array, margins: Margins, others: Shared = ALONE
) -> np.ndarray[tuple[int, ...], np.dtype[np.str_]]:
    """Return the result of stage 1 for each cell after a launch pair. ``d``: cells x launches, all
    so far.

    Raises ``ValueError`` for values that are not finite.
    """
    n = d.shape[-1]
    if not np.isfinite(d).all():
        raise ValueError(
            "D must be finite: a launch pair that failed is replaced or its cell ends broken"
        )
    found = np.full(d.shape[:-1], str(Screened.MORE), dtype="<U6")
    if n < SCREEN_LOOKS[0]:
        return found
    variance, freedom = others.moderate(d.var(-1, ddof=1), n)
    mean, error = d.mean(-1), np.sqrt(variance / n)
    reach = _t(1 - SCREEN_MISS, freedom) * error
    if n >= ROUTE_LOOK:
        beyond = (np.abs(mean) - margins.low) / np.maximum(error, 1e-300)
        found[stats.t.sf(beyond, freedom) < ROUTE_P] = Screened.ROUTED
    if n >= SCREEN_LOOKS[-1]:
        found[:] = Screened.ROUTED
    found[np.abs(mean) + reach < margins.high] = Screened.SAME
    return found


@cache
def looks(cells: int, margins: Margins) -> dict[int, float]:
    """Return launches -> level of that look of stage 2, before Holm. The levels sum to alpha's part
    for means.

    The first look is the earliest at which the sign-flip test can reject at all: its smallest p is
    2^-n.
    """
    alpha = margins.alpha * (1 - MODE_SHARE - GROSS_SHARE)
    first = int(np.ceil(np.log2(max(cells, 1) / (0.5 * alpha))))
    later = [n for n in (max(12, first + 1) if first < 14 else 0, 16, 20) if n > first]
    shares = {1: (0.5,), 2: (0.25, 0.25), 3: (0.25, 0.125, 0.125)}[len(later)]
    return {first: 0.5 * alpha} | {n: share * alpha for n, share in zip(later, shares, strict=True)}


def p_slower(d: ArrayLike, margin: float) -> float:
    """Return the p-value of "the mean of D is at most ``margin``": the larger of Student's t and
    the exact sign-flip test.

    If Student's t alone is over 5 %, nothing can be rejected. The sign-flip test, which takes 2^n
    sums, is then left out.
    """
    x = np.asarray(d, float) - margin
    n = len(x)
    spread = x.std(ddof=1)
    p_t = (
        float(stats.t.sf(x.mean() / (spread / np.sqrt(n)), n - 1))
        if spread > 0
        else float(x.mean() <= 0)
    )
    return p_t if p_t > 0.05 else max(p_t, sign_flip(x))


def sign_flip(x: ArrayLike) -> float:
    """Return the share of the 2^n ways to sign ``x`` whose sum is at least the observed one. Exact;
    n up to 22.
    """
    x = np.asarray(x, float)
    sums = np.zeros(1)
    for size in np.abs(x):
        sums = np.concatenate([sums + size, sums - size])
    return float((sums >= x.sum() - 1e-12 * max(1e-300, np.abs(x).sum())).mean())


def holm(p: Mapping[str, float], level: float) -> set[str]:
    """Return the names whose hypotheses Holm's procedure rejects.

    ``p`` holds every hypothesis of the family except those that an earlier look rejected (Maurer &
    Bretz 2013). A hypothesis that is no longer tested has p = 1.
    """
    found: set[str] = set()
    left = len(p)
    for name, value in sorted(p.items(), key=lambda pair: pair[1]):
        if value > level / left:
            break
        found.add(name)
        left -= 1
    return found


class Confirmation:
    """Stage 2 over the routed cells: fresh launches, one family. Call ``look`` after each launch;
    ``open`` holds the undecided cells.
    """

    def __init__(self, cells: Sequence[str], margins: Margins) -> None:
        self.margins = margins
        self.looks = looks(len(cells), margins)
        self.most = max(self.looks)
        self.decided: dict[str, tuple[Verdict, str]] = {}
        self.exhausted = False
        self._cells = list(cells)

    @property
    def open(self) -> list[str]:
        """The cells without a verdict."""
        return [cell for cell in self._cells if cell not in self.decided]

    def drop(self, cell: str, reason: str) -> None:
        """Mark a cell as broken. It stays in the family, because the correction already counts it."""
        if cell in self._cells:
            self.decided[cell] = Verdict.BROKEN, reason

    def look(self, d: Mapping[str, ArrayLike]) -> None:
        """Decide the cells that can be decided. All open cells must have the same number of
        launches.
        """
        n = len(np.asarray(d[self.open[0]])) if self.open else 0
        self.exhausted = n >= self.most
        if n in self.looks:
            for sign, verdict in ((1, Verdict.REGRESSED), (-1, Verdict.IMPROVED)):
                self._test(d, sign, verdict, self.looks[n])
        if n in self.looks or n in CONFIRM_LOOKS:
            for cell in self.open:
                if bound(d[cell], CONFIRM_MISS) < self.margins.high:
                    self.decided[cell] = (
                        Verdict.SAME,
                        f"any change is below {self.margins.caught:.0%}",
                    )

    def _test(self, d: Mapping[str, ArrayLike], sign: int, verdict: Verdict, level: float) -> None:
        done = [cell for cell, (found, _) in self.decided.items() if found is verdict]
        p = {cell: 1.0 for cell in self._cells if cell not in done}
        p |= {
            cell: p_slower(sign * np.asarray(d[cell], float), self.margins.low)
            for cell in self.open
        }
        for cell in holm(p, level):
            word = "slower" if sign > 0 else "faster"
            reason = f"{word} by more than the tolerated {self.margins.tolerated:.1%} (p = {p[cell]:.1g})"
            self.decided[cell] = verdict, reason


def bound(d: ArrayLike, miss: float) -> float:
    """Return an upper bound on the size of the effect, in either direction. The chance that it is
    wrong is ``miss``.
    """
    d = np.asarray(d, float)
    n = len(d)
    return float(np.abs(d.mean()) + _t(1 - miss, n - 1) * d.std(ddof=1) / np.sqrt(n))


def estimate(d: ArrayLike, others: Shared = ALONE) -> Estimate:
    """Return mean and 95 % interval over launches (Student's t, moderated by the spread of the
    other cells).
    """
    d = np.asarray(d, float)
    n = len(d)
    mean, sd = float(d.mean()), float(d.std(ddof=1)) if n > 1 else 0.0
    half = np.inf
    if n > 1:
        variance, freedom = others.moderate(sd**2, n)
        half = _t(0.975, freedom) * np.sqrt(variance / n)
    effect, low, high = (float(np.expm1(value)) for value in (mean, mean - half, mean + half))
    return Estimate(n, effect, low, high, sd)


def detectable(sd: float, margins: Margins, cells: int = 1) -> float:
    """Return the slowdown that stage 2 finds with 95 % at its last look, given the sd of launch
    pairs.
    """
    schedule = looks(cells, margins)
    n = max(schedule)
    level = schedule[n] / max(cells, 1)
    return float(np.expm1(margins.low + (_t(1 - level, n - 1) + _t(0.95, n - 1)) * sd / np.sqrt(n)))


def slow_modes(d: ArrayLike, within: float, margins: Margins) -> tuple[int, int, float]:
    """Return (launches with only head slow, launches with only base slow, size of the slowdown), or
    zeros if D has one cluster.

    A launch is slow if its |D| lies beyond the largest gap among them. That gap must be over
    ``caught`` and over four times ``within``, the spread within a launch. A process that is in a
    slow mode on both sides shows no D.
    """
    d = np.asarray(d, float)
    size = np.sort(np.abs(d))
    gaps = np.diff(size)
    if not len(gaps) or gaps.max() <= max(margins.high, MODE_SPREADS * within):
        return 0, 0, 0.0
    outer = size[int(gaps.argmax()) + 1]
    far = np.abs(d) >= outer
    return (
        int((far & (d > 0)).sum()),
        int((far & (d < 0)).sum()),
        float(np.expm1(np.abs(d[far]).mean())),
    )


def p_unstable(head_slow: int, base_slow: int, launches: int) -> float:
    """Return the p-value of Fisher's exact test of "head is not slow in more launches than base",
    one-sided.
    """
    table = [[head_slow, launches - head_slow], [base_slow, launches - base_slow]]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)
