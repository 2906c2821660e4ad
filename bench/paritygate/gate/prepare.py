"""Does head take longer to prepare? Seconds with warm caches, from the launch pairs that a cell's time
needed anyway. Pure.

Launch pairs are few, so the spread of a cell is combined with that of the others (moderated t), at
alpha over the number of cells. Beside it stands the exact sign-flip test: at the same level, or where
the pairs are too few for that, every single one must lie beyond the margin.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from paritygate.gate import verdict

FEWEST = 3  # launch pairs
MOST = 20  # the last ones; the sign-flip test takes 2^n sums
LEAST_SECONDS = 0.01  # nobody waits for less, and it is mostly chance

Prepared = Sequence[tuple[float, float]]  # (base, head) of each launch pair, in seconds


def slower(cell: str, prepared: Mapping[str, Prepared], share: float, alpha: float) -> str:
    """Return how much longer head takes to prepare a cell, if it surely is more by this share; or "".

    ``prepared``: the launch pairs of every cell of the run. ``alpha``: the chance of a false answer
    for any of them.
    """
    d = _d(prepared.get(cell, ()))[-MOST:]
    if len(d) < FEWEST or not _matters(prepared[cell]):
        return ""
    beyond, n = d - math.log1p(share), len(d)
    others = verdict.shared([_d(pairs) for pairs in prepared.values() if len(pairs) > 1])
    variance, freedom = others.moderate(d.var(ddof=1), n)
    level = alpha / len(prepared)
    p = float(stats.t.sf(beyond.mean() / max(math.sqrt(variance / n), 1e-300), freedom))
    if p > level or verdict.sign_flip(beyond) > max(level, 2.0**-n):
        return ""
    return (
        f"{_change(prepared[cell])}, more by over the tolerated {share:.0%} in {n} launch pairs "
        f"(p = {p:.1g})"
    )


def perhaps_slower(prepared: Prepared, caught: float) -> str:
    """Return a line on a cell that seems to take longer by more than ``caught``, or "".

    It is no verdict: two launch pairs are too few, or their spread is too large.
    """
    if not prepared or not _matters(prepared) or _d(prepared).mean() <= math.log1p(caught):
        return ""
    return f"{_change(prepared)}; {len(prepared)} launch pairs do not make it certain"


def changed_cold(base: float | None, head: float | None, caught: float) -> str | None:
    """Return a line on the seconds with empty caches, if both sides had to compile and one took
    longer by more than ``caught``, or None. Each side compiles once, so this is no verdict.
    """
    if base is None or head is None or abs(math.log(head / base)) <= math.log1p(caught):
        return None
    return f"prepare with empty caches: {base:.1f} -> {head:.1f} s, seen once"


def _change(prepared: Prepared) -> str:
    base, head = (statistics.median(side) for side in zip(*prepared, strict=True))
    return f"prepare: {base:.2f} -> {head:.2f} s ({math.expm1(_d(prepared).mean()):+.0%})"


def _matters(prepared: Prepared) -> bool:
    return statistics.median(head - base for base, head in prepared) > LEAST_SECONDS


def _d(prepared: Prepared) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Return ln(head/base) of each launch pair."""
    return np.array([math.log(head / base) for base, head in prepared])
