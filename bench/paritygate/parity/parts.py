"""Parts: every place of an output is judged by its own size, so that no fault hides behind larger
numbers.

A part is a band of magnitudes, of the whole output or of one slice; see ``paritygate.parity.cuts``.
Each part is compared with eager's own error in the same part. So where float arithmetic is coarse
(near zero, after cancellation) more is allowed, and nowhere else. Where eager happens to be exact,
rounding of the part's own size is allowed. Small numbers are often sums of larger ones, so rounding
of the median size of the part's level is allowed too, within limits. Pure: numpy arrays in, numbers
out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paritygate.parity.cuts import (
    FEW,
    GAP,
    Axis,
    Floats,
    Judged,
    bands_of,
    between,
    edges,
    median_of,
    runs,
    totals,
)
from paritygate.parity.noise import expected
from paritygate.parity.sums import Sums, summed
from paritygate.parity.tolerance import Tolerance

MOST = 100.0  # limit on the ratio that is allowed: a part of one element has no larger one
TAIL = 2.5e-5  # share of a part's own size that is allowed at most for rounding of larger numbers
CONSTANT = 1e-5  # numbers whose squares differ by less than this, relative, are one number


@dataclass(frozen=True)
class Part:
    """One part and its comparison. A ``share`` above 1 fails. Errors are relative to the part's own
    size.

    ``axis`` is empty for the whole output, else ``index`` is an index of that axis. ``low`` and
    ``high`` bound the magnitudes.
    """

    share: float
    error: float
    allowed: float
    own_error: float
    largest: float
    largest_allowed: float
    elements: int
    axis: str
    index: int
    low: float
    high: float

    def __str__(self) -> str:
        """Return the place: "axis 1 index 4, values of 0.0078 to 0.0625"."""
        place = f"{self.axis} {self.index}, " if self.axis else ""
        return f"{place}values of {self.low:.2g} to {self.high:.2g}"


@dataclass(frozen=True)
class Level:
    """A level of an output, judged as a whole.

    ``coarse``: eager itself is farther from the reference than the cap allows, so the level cannot
    judge others. ``bands``: the level's bands.
    """

    part: Part
    coarse: bool
    bands: slice


def levels(whole: Sums, lowest: int, limits: Tolerance, norm_floor: float = 0.0) -> list[Level]:
    """Return the levels of an output, largest magnitudes first, each judged as a whole: by ratio
    and by cap.

    The cap does not hold for a level whose noise is no more than rounding of larger numbers that
    are computed as well. Fills are constants, so they do not excuse others. A few small numbers
    below a gap are also held to that rounding only: among thousands of values around zero some come
    this close to zero.

    ``norm_floor``: the norm of a level counts as at least this.
    """
    # largest root mean squares of the levels so far: with errors in eager; not constant
    judged, noisy, varied = [], 0.0, 0.0
    for first, last in runs(whole.number[0]):
        bands = slice(first, last + 1)
        number, off, own, size, fourth = (
            float(values[0, bands].sum())
            for values in (whole.number, whole.off, whole.own, whole.size, whole.fourth)
        )
        most_off, most_own, most_size = (
            float(values[0, bands].max())
            for values in (whole.most_off, whole.most_own, whole.most_size)
        )
        norm = max(math.sqrt(size), norm_floor)
        ratio = _ratio(np.array(own), np.array(fourth), np.array(number), limits)
        excused = math.sqrt(own / max(number, 1)) <= limits.floor * noisy
        near_zero = limits.floor * varied if number < FEW else 0.0
        own_error = math.sqrt(own) / norm if norm else 0.0
        allowed = max(float(ratio) * own_error, limits.ratio * limits.floor)
        if near_zero and norm:
            allowed, excused = (
                max(allowed, limits.ratio * near_zero * math.sqrt(max(number, 1)) / norm),
                True,
            )
        coarse = own_error > limits.cap and not excused
        if not excused and not coarse:
            allowed = min(allowed, limits.cap)
        error = math.sqrt(off) / norm if norm else math.sqrt(off)
        bound = max(
            float(_bound(ratio, most_own, norm**2, number, limits)), limits.outlier * near_zero
        )
        share = max(_over(error, allowed), _over(most_off, bound))
        low, high = edges(first, last, lowest)
        part = Part(
            share, error, allowed, own_error, most_off, bound, int(number), "", 0, low, high
        )
        judged.append(Level(part, coarse, bands))
        typical_size = math.sqrt(size / max(number, 1))
        if own:
            noisy = max(noisy, typical_size)
        if number * most_size**2 > (1 + CONSTANT) * size:
            varied = max(varied, typical_size)
    return judged


def doubtful(beyond: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask of the bands to look at: those with an element that is off by more than the
    floor allows anywhere, and those above, which they may join. All other bands agree, in every
    cut.
    """
    bands = beyond.copy()
    bands[1:] |= beyond[:-1]
    return bands


def first_look(
    cuts: Iterable[tuple[Axis, Sums]], lowest: int, bands: NDArray[np.bool_], limits: Tolerance
) -> Part | None:
    """Return the worst part of some bands, each compared with R times eager's own error in it; None
    where there is none.

    This never allows more than ``worst`` does, and most answers pass it.
    """
    if not bands.any():
        return None
    some = ((axis, sums.only(bands)) for axis, sums in cuts)
    return _worst(some, lowest, limits, lambda own, *_: np.full(own.shape, limits.ratio))


def worst(judged: Judged, limits: Tolerance) -> Part | None:
    """Return the part that is closest to its limit, or farthest over it; None where there is none.

    The limit follows from the expected noise, and from how well that is known.
    """
    if not judged.off.size:
        return None
    judged = expected(judged)
    tally = summed([judged], judged.grid, judged.off.size)
    return _worst(tally.cuts(), tally.lowest, limits, partial(_ratio, limits=limits))


def _worst(
    cuts: Iterable[tuple[Axis, Sums]], lowest: int, limits: Tolerance, ratio: Callable[..., Floats]
) -> Part | None:
    """Return the worst part of all cuts. ``ratio``: returns how many times eager's own error is
    allowed, like ``_ratio``.
    """
    worst_part: Part | None = None
    for axis, sums in cuts:
        part = _worst_of(sums, axis.name, lowest, limits, ratio)
        if part is not None and (worst_part is None or not part.share <= worst_part.share):
            worst_part = part
    return worst_part


def typical(size: Floats) -> Floats:
    """Return for each element its own size or the median of its level, whichever is larger."""
    if not size.size:
        return size
    band, _ = bands_of(size)
    bands = int(band.max()) + 1
    number, squares = (
        totals(band, values, bands)[None] for values in ((size > 0).astype(np.float64), size**2)
    )
    larger: Floats = np.maximum(size, median_of(number, squares)[0, band])
    return larger


def inside(judged: Judged, part: Part) -> NDArray[np.bool_]:
    """Return a mask of the elements that belong to a part."""
    within = between(judged.size, part.low, part.high)
    for axis in judged.grid.axes():
        if axis.name == part.axis:
            within &= axis.place(judged.at) == part.index
    return within


def _worst_of(
    sums: Sums, axis: str, lowest: int, limits: Tolerance, ratio_of: Callable[..., Floats]
) -> Part | None:
    """Return the worst part of one cut.

    Bands are joined from the largest down: a band with few elements takes the one above it along.
    Across a gap it takes along the errors of candidate and eager, but not the size: a fill of -1e9
    allows nothing.
    """
    slices, bands = sums.number.shape
    above = dict.fromkeys(
        ("number", "off", "own", "fourth", "size", "most_off", "most_own"), np.zeros(slices)
    )
    median = median_of(sums.number, sums.size)
    since = np.zeros(slices)  # empty bands passed
    top = np.full(slices, bands - 1)
    worst_part: Part | None = None
    for band in range(bands - 1, -1, -1):
        here = {name: getattr(sums, name)[:, band] for name in above}
        few = here["number"] < FEW
        empty = (here["number"] == 0) & (here["off"] == 0) & (here["own"] == 0)
        joined = {}
        for name, upper in above.items():
            taken = np.where(few & ((since < GAP) | (name != "size")), upper, 0.0)
            joined[name] = (
                np.maximum(here[name], taken) if name.startswith("most") else here[name] + taken
            )
        top = np.where(empty | few, top, band)
        since = np.where(empty, since + 1, 0)
        above = {name: np.where(empty, above[name], joined[name]) for name in above}
        ratio = np.minimum(ratio_of(joined["own"], joined["fourth"], joined["number"]), MOST)
        number = np.maximum(joined["number"], 1.0)
        usual = np.minimum(median[:, band], TAIL / limits.floor * np.sqrt(joined["size"] / number))
        size = np.maximum(joined["size"], usual**2 * number)
        allowed = np.maximum(
            ratio * np.sqrt(joined["own"]), limits.ratio * limits.floor * np.sqrt(size)
        )
        bound = _bound(ratio, joined["most_own"], size, joined["number"], limits)
        share = np.maximum(
            _shares(np.sqrt(joined["off"]), allowed), _shares(joined["most_off"], bound)
        )
        share = np.where(empty, 0.0, share)
        index = int(np.argmax(share))
        # "not <=" is true for NaN, too
        if not share[index] <= (0.0 if worst_part is None else worst_part.share):
            norm = math.sqrt(joined["size"][index]) or 1.0
            low, high = edges(band, int(top[index]), lowest)
            worst_part = Part(
                share=float(share[index]),
                error=math.sqrt(joined["off"][index]) / norm,
                allowed=float(allowed[index]) / norm,
                own_error=math.sqrt(joined["own"][index]) / norm,
                largest=float(joined["most_off"][index]),
                largest_allowed=float(bound[index]),
                elements=int(joined["number"][index]),
                axis=axis,
                index=index,
                low=low,
                high=high,
            )
    return worst_part


def _ratio(own: Floats, fourth: Floats, number: Floats, limits: Tolerance) -> Floats:
    """Return how many times eager's own error in a level is allowed: R, and more where that error
    is known from few terms only.

    The number of terms is the participation ratio: (sum of squares) squared over sum of fourth
    powers.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(fourth > 0, own**2 / fourth, 1.0)
    return limits.ratio_of(np.minimum(terms, np.maximum(number, 1.0)))


def _bound(ratio: Floats, most_own: Any, size: Any, number: Any, limits: Tolerance) -> Floats:
    """Return the largest difference that one element may have: ``outlier`` times eager's largest,
    or ``outlier`` times the expected maximum of n normal errors of the floor's size, which is
    sqrt(2 ln n) of them.
    """
    several = np.maximum(number, 2.0)
    expected = limits.floor * np.sqrt(size / np.maximum(number, 1.0)) * np.sqrt(2 * np.log(several))
    bound: Floats = limits.outlier * np.maximum(ratio / limits.ratio * most_own, expected)
    return bound


def _shares(values: Floats, allowed: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        shares: Floats = np.where(values > 0, np.where(allowed > 0, values / allowed, np.inf), 0.0)
    return shares


def _over(value: float, allowed: float) -> float:
    return value / allowed if allowed else (math.inf if value else 0.0)
