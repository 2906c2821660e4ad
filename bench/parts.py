"""Parts: every place of an output is judged by its own size, so that no fault hides behind larger numbers.

An output is cut in two ways at once. By *magnitude*: elements within a factor of eight form a band; bands without a gap
of about 1000 between them form a *level* (logits are one, the -1e9 beside them are another). By *place*: every index of
every axis (a channel, a position, an input set) is a slice. A part is a band of the whole output or of one slice.

Each part is held against eager's own error in the same part, so where float arithmetic is coarse (near zero, after
cancellation) more is allowed, and nowhere else. Where eager happens to be exact, rounding of the part's own size is
allowed, or of the median size of its level in the same slice, within limits: small numbers are often sums of such.
Pure: numpy arrays in, numbers out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

BAND = 3  # powers of two in a band of magnitudes
GAP = 3  # empty bands between two levels: at least a factor of 512
FEW = 16  # elements; a part with fewer takes its neighbour of larger numbers along
LARGEST, SMALLEST = 1e70, 1e-70  # beyond these squares of squares overflow
SURE = 5.2  # standard deviations; a normal number exceeds them once in ten million
ROOM = 1.5  # by which two runs of the same arithmetic may differ besides by chance
MOST = 100.0  # times eager's error, as it is to be expected of a part, are allowed to a part of a single element
TAIL = 2.5e-5  # of a part's own size may be allowed for rounding of the larger numbers it was computed of
CONSTANT = 1e-5  # by how much, relative, the squares of numbers that are one number may differ
FITS = 3  # rounds in which the factors of noise are fitted
QUIET = 25.0  # times the mean square error of a slice that is quieter than usual are expected of it


@dataclass(frozen=True)
class Judged:
    """The elements of one output that are compared, over all input sets; all arrays are flat and of one length.

    ``off``: distance of the candidate from the reference, ``own``: eager's, ``size``: the reference's magnitude.
    ``places``: for every axis whose slices are judged the name of the axis and the slice of each element. ``samples``:
    likewise what differs in noise and is not judged alone, since all errors of a sample may come from one rounding.
    """

    off: Floats
    own: Floats
    size: Floats
    places: Sequence[tuple[str, Places]]
    samples: Sequence[tuple[str, Places]] = ()

    def only(self, kept: NDArray[np.bool_]) -> Judged:
        """Some of the elements."""
        if kept.all():
            return self
        cuts = ([(axis, place[kept]) for axis, place in given] for given in (self.places, self.samples))
        return Judged(self.off[kept], self.own[kept], self.size[kept], *cuts)


@dataclass(frozen=True)
class Limits:
    """What a row of the table allows: see ``bench.parity.Tolerance``. ``least``: a norm counts as having at least."""

    floor: float
    ratio: float
    outlier: float
    cap: float
    least: float = 0.0


@dataclass(frozen=True)
class Part:
    """A part and how it compares; above 1 ``share`` fails. Errors are relative to the part's own size.

    ``axis`` is empty for the whole output, else ``index`` is of that axis. ``low`` and ``high`` bound the magnitudes.
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

    ``coarse``: eager itself is farther from the reference than the cap allows, so nothing can be said of others.
    """

    part: Part
    coarse: bool


class _Sums:
    """Sums over the parts of one cut: arrays (slices, bands). Elements that are zero count in none of the numbers."""

    def __init__(self, judged: Judged, place: Places | None, slices: int, band: Places, bands: int) -> None:
        key = band if place is None else place * bands + band
        shape = (slices, bands)

        def total(values: Floats) -> Floats:
            return _totals(key, values, slices * bands).reshape(shape)

        def most(values: Floats) -> Floats:
            found = np.zeros(slices * bands)
            np.maximum.at(found, key, values)
            return found.reshape(shape)

        square = judged.own**2
        self.number = total((judged.size > 0).astype(np.float64))
        self.off, self.own, self.size = total(judged.off**2), total(square), total(judged.size**2)
        self.fourth = total(square**2)
        self.most_off, self.most_own = most(judged.off), most(judged.own)


def expected(judged: Judged) -> Judged:
    """The same with eager's error as it is to be expected of each element, where that is larger than what it is.

    One run of eager can be exact by chance. What is to be expected is a product of factors, one for the band of an
    element and one for its slice in each grouping, fitted in turn so that the mean square of each comes out right
    (iterative proportional fitting): noise differs by magnitude, sample and channel. A slice counts as quieter than
    usual only beyond ``QUIET``, since all errors in it may come from one rounding.
    """
    if not judged.off.size or not judged.own.any():
        return judged
    band, _ = _bands(judged.size)
    bands, square = int(band.max()) + 1, judged.own**2
    number = _totals(band, (judged.size > 0).astype(np.float64), bands)
    noise = np.full(square.shape, square.mean())
    groupings = [(place, np.bincount(place)) for _, place in (*judged.samples, *judged.places)]
    factors = [np.ones(len(count)) for _, count in groupings]

    def ratio() -> Floats:
        found: Floats = np.divide(square, noise, out=np.zeros_like(noise), where=noise > 0)
        return found

    for _ in range(FITS):
        for (place, count), factor in zip(groupings, factors, strict=True):
            change = _totals(place, ratio(), len(count)) / np.maximum(count, 1)
            factor *= change
            noise *= change[place]
        noise *= _by_band(_totals(band, ratio(), bands), number)[band]
    for (place, count), factor in zip(groupings, factors, strict=True):
        usual = float(factor @ count) / count.sum()
        quiet = np.minimum(np.divide(usual, factor, out=np.ones_like(factor), where=factor > 0), QUIET)
        noise *= np.maximum(quiet, 1.0)[place]
    return replace(judged, own=np.sqrt(np.maximum(square, noise)))


def _totals(place: Places, values: Floats, length: int) -> Floats:
    return np.bincount(place, weights=values, minlength=length).astype(np.float64)


def _by_band(total: Floats, number: Floats) -> Floats:
    """The mean of each band; one with few elements is joined with larger ones, or is as noisy as the one below."""
    mean, above = np.zeros(len(total)), (0.0, 0.0)
    for band in range(len(total) - 1, -1, -1):
        few = number[band] < FEW
        above = (number[band] + above[0] * few, total[band] + above[1] * few)
        mean[band] = above[1] / max(above[0], 1.0)
    for band in range(1, len(total)):
        if number[band:].sum() < FEW:
            mean[band] = max(mean[band], mean[band - 1])
    return mean


def levels(judged: Judged, limits: Limits) -> list[Level]:
    """The levels of an output, largest numbers first, each judged as a whole: by ratio and by cap.

    The cap does not hold for a level whose noise is no more than rounding of larger numbers that are computed, too
    (fills are constants: eager has no error there). Nor are a few small numbers below a gap a level to be held to more
    than that rounding: among thousands that lie around zero some come so close to it.
    """
    if not judged.off.size:
        return []
    band, lowest = _bands(judged.size)
    sums = _Sums(judged, None, 1, band, int(band.max()) + 1)
    found, noisy, varied = [], 0.0, 0.0  # root mean squares of larger levels: with errors of eager's, not constant
    for first, last in _runs(sums.number[0]):
        number = float(sums.number[0, first : last + 1].sum())
        off, own, size, fourth = (
            float(values[0, first : last + 1].sum()) for values in (sums.off, sums.own, sums.size, sums.fourth)
        )
        most_off, most_own = (float(v[0, first : last + 1].max()) for v in (sums.most_off, sums.most_own))
        norm = max(math.sqrt(size), limits.least)
        ratio = _ratio(np.array(own), np.array(fourth), np.array(number), limits)
        excused = math.sqrt(own / max(number, 1)) <= limits.floor * noisy
        near_zero = limits.floor * varied if number < FEW else 0.0
        own_error = math.sqrt(own) / norm if norm else 0.0
        allowed = max(float(ratio) * own_error, limits.ratio * limits.floor)
        if near_zero and norm:
            allowed, excused = max(allowed, limits.ratio * near_zero * math.sqrt(max(number, 1)) / norm), True
        coarse = own_error > limits.cap and not excused
        if not excused and not coarse:
            allowed = min(allowed, limits.cap)
        error = math.sqrt(off) / norm if norm else math.sqrt(off)
        bound = max(float(_bound(ratio, most_own, norm**2, number, limits)), limits.outlier * near_zero)
        share = max(_over(error, allowed), _over(most_off, bound))
        low, high = _edges(first, last, lowest)
        part = Part(share, error, allowed, own_error, most_off, bound, int(number), "", 0, low, high)
        found.append(Level(part, coarse))
        typical_size = math.sqrt(size / max(number, 1))
        most = float(np.max(judged.size, where=_between(judged.size, low, high), initial=0.0))
        if own:
            noisy = max(noisy, typical_size)
        if number * most**2 > (1 + CONSTANT) * size:
            varied = max(varied, typical_size)
    return found


def worst(judged: Judged, limits: Limits) -> Part | None:
    """The part that comes closest to its limit, or is farthest over it; None where there is none."""
    if not judged.off.size or np.array_equal(judged.off, judged.own):
        return None
    judged = expected(_doubtful(judged, limits))
    if not judged.off.size:
        return None
    band, lowest = _bands(judged.size)
    bands = int(band.max()) + 1
    found: Part | None = None
    for axis, place in (("", None), *judged.places):
        slices = 1 if place is None else int(place.max()) + 1
        part = _worst_of(_Sums(judged, place, slices, band, bands), axis, lowest, limits)
        if part is not None and (found is None or not part.share <= found.share):
            found = part
    return found


def _doubtful(judged: Judged, limits: Limits) -> Judged:
    """The bands in which an element is off by more than the floor allows, and those above, which they may join.

    All others are as they should be, whatever they are cut into; most elements are, and need not be summed up.
    """
    beyond = judged.off > limits.ratio * limits.floor * judged.size
    if not beyond.any():
        return judged.only(beyond)
    band, _ = _bands(judged.size)
    doubtful = np.zeros(int(band.max()) + 2, bool)
    doubtful[np.unique(band[beyond])] = True
    doubtful[1:] |= doubtful[:-1]
    return judged.only(doubtful[band])


def typical(size: Floats) -> Floats:
    """For each element its own size or the median of its level, whichever is larger."""
    if not size.size:
        return size
    band, _ = _bands(size)
    nothing = np.zeros_like(size)
    sums = _Sums(Judged(nothing, nothing, size, ()), None, 1, band, int(band.max()) + 1)
    larger: Floats = np.maximum(size, _median(sums.number, sums.size)[0, band])
    return larger


def inside(judged: Judged, part: Part) -> NDArray[np.bool_]:
    """Which elements are of a part."""
    within = _between(judged.size, part.low, part.high)
    for axis, place in judged.places:
        if axis == part.axis:
            within &= place == part.index
    return within


def places(shapes: Sequence[tuple[int, ...]]) -> list[tuple[str, Places]]:
    """The slices of outputs of these shapes, one for each input set, laid one behind the other.

    An axis counts where each of its slices has enough elements for a judgement of its own. Outputs whose shape changes
    from set to set have the sets as their only axis.
    """
    sizes = [math.prod(shape) for shape in shapes]
    total = sum(sizes)
    found = []
    if len(shapes) > 1 and min(sizes) >= FEW:
        found.append(("input set", np.repeat(np.arange(len(shapes)), sizes)))
    if len(set(shapes)) == 1:
        for axis, length in enumerate(shapes[0]):
            if length > 1 and total // length >= FEW:
                index = np.arange(length).reshape([-1 if other == axis else 1 for other in range(len(shapes[0]))])
                one = np.broadcast_to(index, shapes[0]).ravel()
                found.append((f"axis {axis} index", np.tile(one, len(shapes))))
    return found


def samples(shapes: Sequence[tuple[int, ...]]) -> list[tuple[str, Places]]:
    """The indices of the first axis in each input set, where they have enough elements."""
    if len(set(shapes)) != 1 or not shapes[0] or shapes[0][0] < 2 or math.prod(shapes[0][1:]) < FEW:
        return []
    return [("sample", np.repeat(np.arange(len(shapes) * shapes[0][0]), math.prod(shapes[0][1:])))]


def _bands(size: Floats) -> tuple[Places, int]:
    """The band of each magnitude, counted from the lowest one, which zeros join; and what that one's number is."""
    exponents = np.frexp(size)[1] // BAND
    real = size > 0
    if not real.any():
        return np.zeros(size.shape, np.intp), 0
    lowest = int(exponents[real].min())
    return np.where(real, exponents - lowest, 0).astype(np.intp), lowest


def _edges(first: int, last: int, lowest: int) -> tuple[float, float]:
    """The magnitudes between which bands lie: 2**e has the mantissa 0.5, so its exponent in frexp is e + 1.

    Zeros join the lowest band.
    """
    return 2.0 ** ((first + lowest) * BAND - 1) if first else 0.0, 2.0 ** ((last + lowest + 1) * BAND - 1)


def _between(size: Floats, low: float, high: float) -> NDArray[np.bool_]:
    return (size >= low) & (size < high)


def _runs(number: Floats) -> Iterator[tuple[int, int]]:
    """First and last band of each level, largest numbers first; of an output of zeros the one band there is."""
    filled = np.flatnonzero(number)
    if not filled.size:
        yield 0, 0
        return
    for run in reversed(np.split(filled, np.flatnonzero(np.diff(filled) > GAP) + 1)):
        yield (0 if run[0] == filled[0] else int(run[0])), int(run[-1])


def _median(number: Floats, size: Floats) -> Floats:
    """The median size of the level that a part is of: arrays (slices, bands); of zeros alone, that of the level above.

    The median, since a few huge elements say nothing of what the others were computed of.
    """
    slices, bands = number.shape
    filled = number > 0
    run, empty = np.zeros((slices, bands), np.intp), np.zeros(slices)
    current = np.zeros(slices, np.intp)
    for band in range(bands):
        current = current + (filled[:, band] & (empty >= GAP))
        empty = np.where(filled[:, band], 0, empty + 1)
        run[:, band] = current
    key = run + np.arange(slices)[:, None] * (bands + 1)
    total = np.bincount(key.ravel(), weights=number.ravel(), minlength=slices * (bands + 1))
    within, median = np.zeros(slices * (bands + 1)), np.zeros(slices * (bands + 1))
    rows = np.arange(slices) * (bands + 1)
    for band in range(bands):
        place = rows + run[:, band]
        before = within[place]
        within[place] = before + number[:, band]
        half = total[place] / 2
        reached = filled[:, band] & (before < half) & (within[place] >= half)
        mean = np.sqrt(size[:, band] / np.maximum(number[:, band], 1.0))
        median[place] = np.where(reached, mean, median[place])
    found, above = np.zeros((slices, bands)), np.zeros(slices)
    for band in range(bands - 1, -1, -1):
        level = rows + run[:, band]
        own = filled[:, band] & ((total[level] >= FEW) | (above == 0))
        above = np.where(own, median[level], above)
        found[:, band] = above
    return found


def _worst_of(sums: _Sums, axis: str, lowest: int, limits: Limits) -> Part | None:
    """The worst part of one cut. Bands from the largest down: one with few elements takes the one above it along.

    Across a gap it takes along what is off and what eager is off by, but not the size: a fill of -1e9 allows nothing.
    """
    slices, bands = sums.number.shape
    above = dict.fromkeys(("number", "off", "own", "fourth", "size", "most_off", "most_own"), np.zeros(slices))
    median = _median(sums.number, sums.size)
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
            joined[name] = np.maximum(here[name], taken) if name.startswith("most") else here[name] + taken
        top = np.where(empty | few, top, band)
        since = np.where(empty, since + 1, 0)
        above = {name: np.where(empty, above[name], joined[name]) for name in above}
        ratio = np.minimum(_ratio(joined["own"], joined["fourth"], joined["number"], limits), MOST)
        number = np.maximum(joined["number"], 1.0)
        usual = np.minimum(median[:, band], TAIL / limits.floor * np.sqrt(joined["size"] / number))
        size = np.maximum(joined["size"], usual**2 * number)
        allowed = np.maximum(ratio * np.sqrt(joined["own"]), limits.ratio * limits.floor * np.sqrt(size))
        bound = _bound(ratio, joined["most_own"], size, joined["number"], limits)
        share = np.maximum(_shares(np.sqrt(joined["off"]), allowed), _shares(joined["most_off"], bound))
        share = np.where(empty, 0.0, share)
        index = int(np.argmax(share))
        if not share[index] <= (0.0 if found is None else found.share):  # what is not a number, too
            norm = math.sqrt(joined["size"][index]) or 1.0
            low, high = _edges(band, int(top[index]), lowest)
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


def _ratio(own: Floats, fourth: Floats, number: Floats, limits: Limits) -> Floats:
    """How many times eager's own error of a level is allowed: R, and more where that is known from few terms.

    Two norms of n normal errors of one size are apart by chance: half the logarithm of the ratio of their squares is
    normal with variance 1 / n (Fisher's z, 1924; n - 2 serves small n). The terms that count are the participation
    ratio: (sum of squares) squared over sum of fourth powers.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(fourth > 0, own**2 / fourth, 1.0)
    terms = np.minimum(terms, np.maximum(number, 1.0))
    ratio: Floats = np.maximum(limits.ratio, ROOM * np.exp(SURE / np.sqrt(np.maximum(terms - 2, 0.5))))
    return ratio


def _bound(ratio: Floats, most_own: Any, size: Any, number: Any, limits: Limits) -> Floats:
    """The largest difference of one element: ``outlier`` times eager's largest, or times the expected maximum of
    normal errors of the floor's size, sqrt(2 ln n) of them.
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
