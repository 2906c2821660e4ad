"""Level shifts of one series: their places, heights and the intervals of both. Pure, over arrays.

Places are proposed by the best segmentation into levels (ruptures). Each is tested against
simulated noise with the memory of the series around its levels. How often does such an AR(1)
process, without any shift, show as large a contrast anywhere? Permuted blocks of the series itself
are no good noise: fitting the levels removes variance from the blocks, and far too many clean
series are called changed. A level of the last six runs is tested separately from older ones: there
are few such levels and many old ones, so a new level is found sooner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np
import ruptures
from scipy import stats
from scipy.linalg import convolution_matrix, toeplitz
from scipy.signal import lfilter

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

SEGMENT = 3  # a level has at least so many values; two may be chance
# robust standard deviations: values farther from the running median are set to it (Hampel)
SPIKE = 3.0
# values in the running median; at the end the last five, where three make a new level
NEIGHBOURS, LAST = 7, 5
MEDIAN_TAKES = 1.15  # the running median follows white noise, so that 1/1.15 of it is left
PENALTY = 2.0  # of a proposal, in variances x ln(n): low, since the simulated noise decides
SIDES = (3, 5, 10, 20, 40, 80, 160)  # values left and right of a split that are compared
# a level of at most so many values is new, if at least the second number of values came before it
NEWEST, HISTORY = 6, 20
# false alarms of a whole series, for new and for old levels; measured in bench/evidence/changepoints.py
ALPHA = 0.002
# in spreads; every simulated threshold is higher, so a lower contrast needs no simulation
HOPELESS_NEW, HOPELESS_OLD = 2.5, 3.5
SERIES = 1999  # number of simulated series
LENGTHS = (20, 30, 40, 50, 65, 80, 100, 125, 160, 200)  # noise is simulated for these, rounded up
MEMORY_STEP, MOST_MEMORY = 0.05, 0.9  # and for memories in these steps, rounded up
SETTLING = 50  # first values of a simulated series, which are dropped
WITH_TREND = 20  # from so many values on a drift is fitted besides a step
# twice the loss of log-likelihood of a place in the 95 % set (Hansen 2000, Econometrica 68:575)
LOCATION = 7.35
NORMAL_95 = 1.96


@dataclass(frozen=True)
class Shift:
    """One level shift.

    - ``position``: the first index of the new level. It may lie anywhere from ``first`` to
      ``last``.
    - ``step``, ``low``, ``high``: the height and its 95 % interval, in units of the series.
    - ``p``: the share of series of such noise that show as large a contrast anywhere.
    """

    position: int
    first: int
    last: int
    step: float
    low: float
    high: float
    p: float


def find(series: ArrayLike) -> list[Shift]:
    """Return the level shifts of a series, by position.

    A series of fewer than ``2 * SEGMENT`` values has none. Raises ``ValueError`` for NaN or
    infinity.
    """
    raw = np.asarray(series, float)
    if not np.isfinite(raw).all():
        raise ValueError("a series with NaN or infinity has no levels; remove these values")
    if len(raw) < 2 * SEGMENT or np.ptp(raw) == 0:
        return []
    values, scale = _without_spikes(raw)
    places = _proposed(values / scale)
    while places:
        noise = _Noise(values, places)
        splits = [_Split(values, noise, *window) for window in _windows(places, len(values))]
        splits.sort(key=lambda split: split.strength - split.hopeless)
        failed = next(
            (split for split in splits if split.strength < split.hopeless or split.p > ALPHA), None
        )
        if failed is None:
            return sorted((split.shift() for split in splits), key=lambda shift: shift.position)
        places.remove(failed.place)
    return []


class _Split:
    """A proposed place between its neighbours, tested against the noise."""

    def __init__(self, values: Array, noise: _Noise, before: int, place: int, after: int) -> None:
        self.place, self._before, self._after, self._values, self._noise = (
            place,
            before,
            after,
            values,
            noise,
        )
        n = len(values)
        self.new = after == n and n - place <= NEWEST and place - before >= HISTORY
        self.hopeless = HOPELESS_NEW if self.new else HOPELESS_OLD
        rights = [after - place] if self.new else [side for side in SIDES if side <= after - place]
        lefts = [side for side in SIDES if (HISTORY if self.new else 0) <= side <= place - before]
        self._sides = list(product(lefts, rights))

    @property
    def strength(self) -> float:
        """The largest contrast between values left and right, in units of its spread."""
        return max(abs(self._contrast(sides)) / self._noise.spread(sides) for sides in self._sides)

    @property
    def p(self) -> float:
        """The share of series that show as large a contrast: the simulated ones and this one."""
        largest = self._noise.largest(self.new)
        return float(1 + len(largest) - np.searchsorted(largest, self.strength)) / (
            1 + len(largest)
        )

    def shift(self) -> Shift:
        """Return the shift with its intervals, from the widest sides between the neighbours."""
        widest = max(self._sides, key=sum)
        spread, length = self._noise.spread(widest), _contrast(*widest).length
        step, half = self._contrast(widest) / length, NORMAL_95 * spread / length
        start, end = max(self._before, self.place - 40), min(self._after, self.place + 40)
        window, n = self._values[start:end], end - start
        contrasts = np.array(
            [_contrast(at, n - at).weights @ window for at in range(SEGMENT, n - SEGMENT + 1)]
        )
        strengths = np.minimum(np.abs(contrasts) / spread, 1e100)  # the spread may be almost 0
        loss = strengths[self.place - start - SEGMENT] ** 2 - strengths**2
        plausible = np.flatnonzero((loss <= LOCATION) & (contrasts * step > 0)) + start + SEGMENT
        first, last = int(min([self.place, *plausible])), int(max([self.place, *plausible]))
        return Shift(self.place, first, last, step, step - half, step + half, self.p)

    def _contrast(self, sides: tuple[int, int]) -> float:
        left, right = sides
        return float(
            _contrast(left, right).weights @ self._values[self.place - left : self.place + right]
        )


class _Noise:
    """The rest around the levels, as an AR(1) process."""

    def __init__(self, values: Array, places: Sequence[int]) -> None:
        rest = _around(values, places)
        self._n, levels = len(rest), len(places) + 1
        memory = float(rest[1:] @ rest[:-1]) / (float(rest @ rest) or 1.0)
        # corrects for fitting a mean and a slope to each level, which lowers the memory
        memory += (2 + 4 * memory) * levels / self._n
        self._memory = min(max(memory, 0.0), MOST_MEMORY)
        # A chosen place uses more than one degree of freedom: as much as its penalty.
        free = max(self._n - 2 - (levels - 1) * (1 + PENALTY * np.log(self._n)), 1.0)
        # the spread of few values may be too small by chance: Student's tail over the normal one
        rare = ALPHA / (2 * self._n)
        tail = float(stats.t.isf(rare, free)) / float(stats.norm.isf(rare))
        self._deviation = float(np.sqrt(rest @ rest / free)) * tail or 1e-300

    def spread(self, sides: tuple[int, int]) -> float:
        """Return the standard deviation of the contrast with these sides."""
        return self._deviation * _spread(*sides, self._memory)

    def largest(self, new: bool) -> Array:
        """Return the sorted largest contrasts of the simulated series, in units of their spread.
        ``new``: of new levels, else of old ones.
        """
        n = next((length for length in LENGTHS if length >= self._n), -(-self._n // 100) * 100)
        return _largest(n, round(np.ceil(self._memory / MEMORY_STEP) * MEMORY_STEP, 2), new)


@lru_cache(maxsize=512)
def _largest(n: int, memory: float, new: bool) -> Array:
    chance = np.random.default_rng([n, int(new)]).standard_normal((n + SETTLING, SERIES)) * np.sqrt(
        1 - memory**2
    )
    series = lfilter([1.0], [1.0, -memory], chance, axis=0)[SETTLING:]
    largest = np.zeros(SERIES)
    for left, right in _pairs(n, new):
        within = series[-(left + right) :] if new else series
        contrasts = np.abs(_everywhere(len(within), left, right) @ within).max(axis=0)
        largest = np.maximum(largest, contrasts / _spread(left, right, memory))
    return np.sort(largest)


@lru_cache(maxsize=65536)
def _spread(left: int, right: int, memory: float) -> float:
    """Return the standard deviation of a contrast of AR(1) noise of variance 1."""
    weights = _contrast(left, right).weights
    return float(np.sqrt(weights @ toeplitz(memory ** np.arange(len(weights))) @ weights))


def _windows(places: Sequence[int], n: int) -> Iterator[tuple[int, int, int]]:
    """Yield (the place before, a place, the place after)."""
    yield from zip([0, *places], places, [*places[1:], n], strict=False)


def _pairs(n: int, new: bool) -> list[tuple[int, int]]:
    """Return the pairs of sides that are compared in a series of n values."""
    lefts = [side for side in SIDES if side >= HISTORY] if new else SIDES
    rights = range(SEGMENT, NEWEST + 1) if new else SIDES
    return [(left, right) for left, right in product(lefts, rights) if left + right <= n]


@dataclass(frozen=True)
class _Contrast:
    """The step from some values to the next ones, without their mean (and drift), scaled to length
    one. ``length``: its length before.
    """

    weights: Array
    length: float


@lru_cache(maxsize=4096)
def _contrast(left: int, right: int) -> _Contrast:
    n = left + right
    step = (np.arange(n) >= left).astype(float)
    nuisance = [np.ones(n), np.arange(n) - (n - 1) / 2][: 2 if n >= WITH_TREND else 1]
    for direction in nuisance:
        step -= direction * (step @ direction) / (direction @ direction)
    length = float(np.linalg.norm(step))
    return _Contrast(step / length, length)


@lru_cache(maxsize=256)
def _everywhere(n: int, left: int, right: int) -> Array:
    """Return the contrast at every place of n values: places x values."""
    return np.asarray(convolution_matrix(_contrast(left, right).weights[::-1], n, mode="valid"))


def _without_spikes(values: Array) -> tuple[Array, float]:
    """Return the values without spikes, and the robust standard deviation around the running
    median.
    """
    width = min(NEIGHBOURS, len(values) - 1 + len(values) % 2)  # odd
    middle = np.median(np.lib.stride_tricks.sliding_window_view(values, width), axis=1)
    # at the ends the median of the last whole window
    middle = np.pad(middle, width // 2, mode="edge")
    middle[-SEGMENT:] = np.median(values[-LAST:])
    rest = values - middle
    scale = 1.4826 * float(np.median(np.abs(rest))) * MEDIAN_TAKES or float(rest.std()) or 1.0
    return np.where(np.abs(rest) > SPIKE * scale, middle, values), scale


def _proposed(values: Array) -> list[int]:
    """Return the first index of every level but the first, from the segmentation with the smallest
    penalised cost.
    """
    detector = ruptures.KernelCPD(kernel="linear", min_size=SEGMENT).fit(values[:, None])
    ends: list[int] = detector.predict(pen=PENALTY * float(np.log(len(values))))
    return [int(end) for end in ends[:-1]]


def _around(values: Array, places: Sequence[int]) -> Array:
    """Return the rest of the values without their levels, and without the drift of long levels."""
    rest = []
    for start, end in pairwise([0, *places, len(values)]):
        part, at = values[start:end], np.arange(end - start, dtype=float)
        rest.append(
            part - np.polyval(np.polyfit(at, part, 1 if len(part) >= WITH_TREND else 0), at)
        )
    return np.concatenate(rest)
