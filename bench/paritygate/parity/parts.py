"""Parts: every place of an output is judged by its own size, so that no fault hides behind larger
numbers.

A part is a band of magnitudes of the whole output or of one slice, see ``paritygate.parity.cuts``.
Each is held against eager's own error in the same part, so where float arithmetic is coarse (near
zero, after cancellation) more is allowed, and nowhere else. Where eager happens to be exact,
rounding of the part's own size is allowed, or of the median size of its level in the same slice,
within limits: small numbers are often sums of such. Pure: numpy arrays in, numbers out.
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

MOST = 100.0  # times eager's error, as it is to be expected of a part, are allowed to a part of a single element
TAIL = 2.5e-5  # of a part's own size may be allowed for rounding of the larger numbers it was computed of
CONSTANT = 1e-5  # by how much, relative, the squares of numbers that are one number may differ


@dataclass(frozen=True)
class Part:
    """A part and how it compares; above 1 ``share`` fails. Errors are relative to the part's own
    size.

    ``axis`` is empty for the whole output, else ``index`` is of that axis. ``low`` and ``high``
    bound the magnitudes.
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
        """Where it is: "axis 1 index 4, values of 0.0078 to 0.0625"."""
        place = f"{self.axis} {self.index}, " if self.axis else ""
        return f"{place}values of {self.low:.2g} to {self.high:.2g}"


@dataclass(frozen=True)
class Level:
    """The elements of like magnitude, with the rule for the output as a whole.

    ``coarse``: eager itself is farther from the reference than the cap allows, so nothing can be
    said of others.
    ``bands``: its columns.
    """

    part: Part
    coarse: bool
    bands: slice


def levels(whole: Sums, lowest: int, limits: Tolerance, least: float = 0.0) -> list[Level]:
    """The levels of an output, largest numbers first, each judged as a whole: by ratio and by cap.

    The cap does not hold for a level whose noise is no more than rounding of larger numbers that
    are computed, too (fills are constants: eager has no error there). Nor are a few small numbers
    below a gap a level to be held to more than that rounding: among thousands that lie around zero
    some come so close to it. ``least``: what a norm counts as having at least.
    """
    # root mean squares of larger levels: with errors of eager's, not constant
    found, noisy, varied = (
        [],
        0.0,
        0.0,
    )
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
        norm = max(math.sqrt(size), least)
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
        found.append(Level(part, coarse, bands))
        typical_size = math.sqrt(size / max(number, 1))
        if own:
            noisy = max(noisy, typical_size)
        if number * most_size**2 > (1 + CONSTANT) * size:
            varied = max(varied, typical_size)
    return found


def doubtful(beyond: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The bands to be looked at: those in which an element is off by more than the floor allows
    anywhere, and those above, which they may join. All others are as they should be, whatever they
    are cut into.
    """
    found = beyond.copy()
    found[1:] |= beyond[:-1]
    return found


def first_look(
    cuts: Iterable[tuple[Axis, Sums]], lowest: int, bands: NDArray[np.bool_], limits: Tolerance
) -> Part | None:
    """The worst part of some bands, each held against R times eager's own error in it; None where
    there is none.

    That is never more than ``worst`` allows, and most answers are that good.
    """
    if not bands.any():
        return None
    some = ((axis, sums.only(bands)) for axis, sums in cuts)
    return _worst(some, lowest, limits, lambda own, *_: np.full(own.shape, limits.ratio))


def worst(judged: Judged, limits: Tolerance) -> Part | None:
    """The part that comes closest to its limit, or is farthest over it; None where there is none.

    What is allowed goes by the noise that is to be expected, and by how well it is known.
    """
    if not judged.off.size:
        return None
    judged = expected(judged)
    tally = summed([judged], judged.grid, judged.off.size)
    return _worst(tally.cuts(), tally.lowest, limits, partial(_ratio, limits=limits))


def _worst(
    cuts: Iterable[tuple[Axis, Sums]], lowest: int, limits: Tolerance, ratio: Callable[..., Floats]
) -> Part | None:
    """The worst part of all cuts. ``ratio``: how many times eager's own error is allowed, as
    ``_ratio`` tells.
    """
    found: Part | None = None
    for axis, sums in cuts:
        part = _worst_of(sums, axis.name, lowest, limits, ratio)
        if part is not None and (found is None or not part.share <= found.share):
            found = part
    return found


def typical(size: Floats) -> Floats:
    """For each element its own size or the median of its level, whichever is larger."""
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
    """Which elements are of a part."""
    within = between(judged.size, part.low, part.high)
    for axis in judged.grid.axes():
        if axis.name == part.axis:
            within &= axis.place(judged.at) == part.index
    return within


def _worst_of(
    sums: Sums, axis: str, lowest: int, limits: Tolerance, ratio_of: Callable[..., Floats]
) -> Part | None:
    """The worst part of one cut. Bands from the largest down: one with few elements takes the one
    above it along.

    Across a gap it takes along what is off and what eager is off by, but not the size: a fill of
    -1e9 allows nothing.
    """
    slices, bands = sums.number.shape
    above = dict.fromkeys(
        ("number", "off", "own", "fourth", "size", "most_off", "most_own"), np.zeros(slices)
    )
    median = median_of(sums.number, sums.size)
    since = np.zeros(slices)  # empty bands passed
    top = np.full(slices, bands - 1)
    found: Part | None = None
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
        if not share[index] <= (0.0 if found is None else found.share):  # what is not a number, too
            norm = math.sqrt(joined["size"][index]) or 1.0
            low, high = edges(band, int(top[index]), lowest)
            found = Part(
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
    return found


def _ratio(own: Floats, fourth: Floats, number: Floats, limits: Tolerance) -> Floats:
    """How many times eager's own error of a level is allowed: R, and more where that is known from
    few terms.

    The terms that count are the participation ratio: (sum of squares) squared over sum of fourth
    powers.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(fourth > 0, own**2 / fourth, 1.0)
    return limits.ratio_of(np.minimum(terms, np.maximum(number, 1.0)))


def _bound(ratio: Floats, most_own: Any, size: Any, number: Any, limits: Tolerance) -> Floats:
    """The largest difference of one element: ``outlier`` times eager's largest, or times the
    expected maximum of normal errors of the floor's size, sqrt(2 ln n) of them.
    """
    several = np.maximum(number, 2.0)
    expected = limits.floor * np.sqrt(size / np.maximum(number, 1.0)) * np.sqrt(2 * np.log(several))
    bound: Floats = limits.outlier * np.maximum(ratio / limits.ratio * most_own, expected)
    return bound


def _shares(values: Floats, allowed: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(values > 0, np.where(allowed > 0, values / allowed, np.inf), 0.0)
    return found


def _over(value: float, allowed: float) -> float:
    return value / allowed if allowed else (math.inf if value else 0.0)
