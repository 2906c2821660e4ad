"""Cuts: the elements of an output by magnitude and by place.

By *magnitude*: elements within a factor of eight form a band; bands without a gap of about 1000 between them form a
*level* (logits are one, the -1e9 beside them are another). By *place*: every index of every axis (a channel, a
position, an input set) is a slice. Pure: numpy arrays in and out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

BAND = 3  # powers of two in a band of magnitudes
GAP = 3  # empty bands between two levels: at least a factor of 512
FEW = 16  # elements; fewer are not judged alone
LARGEST, SMALLEST = 1e70, 1e-70  # beyond these squares of squares overflow


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


class Sums:
    """Sums over the parts of one cut: arrays (slices, bands). Elements that are zero count in none of the numbers."""

    def __init__(self, judged: Judged, place: Places | None, slices: int, band: Places, bands: int) -> None:
        key = band if place is None else place * bands + band
        shape = (slices, bands)

        def total(values: Floats) -> Floats:
            return totals(key, values, slices * bands).reshape(shape)

        def most(values: Floats) -> Floats:
            found = np.zeros(slices * bands)
            np.maximum.at(found, key, values)
            return found.reshape(shape)

        square = judged.own**2
        self.number = total((judged.size > 0).astype(np.float64))
        self.off, self.own, self.size = total(judged.off**2), total(square), total(judged.size**2)
        self.fourth = total(square**2)
        self.most_off, self.most_own = most(judged.off), most(judged.own)


def totals(place: Places, values: Floats, length: int) -> Floats:
    """The sum of the values at each place."""
    return np.bincount(place, weights=values, minlength=length).astype(np.float64)


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


def bands_of(size: Floats) -> tuple[Places, int]:
    """The band of each magnitude, counted from the lowest one, which zeros join; and what that one's number is."""
    exponents = np.frexp(size)[1] // BAND
    real = size > 0
    if not real.any():
        return np.zeros(size.shape, np.intp), 0
    lowest = int(exponents[real].min())
    return np.where(real, exponents - lowest, 0).astype(np.intp), lowest


def edges(first: int, last: int, lowest: int) -> tuple[float, float]:
    """The magnitudes between which bands lie: 2**e has the mantissa 0.5, so its exponent in frexp is e + 1.

    Zeros join the lowest band.
    """
    return 2.0 ** ((first + lowest) * BAND - 1) if first else 0.0, 2.0 ** ((last + lowest + 1) * BAND - 1)


def between(size: Floats, low: float, high: float) -> NDArray[np.bool_]:
    """Which magnitudes lie within two edges."""
    return (size >= low) & (size < high)


def runs(number: Floats) -> Iterator[tuple[int, int]]:
    """First and last band of each level, largest numbers first; of an output of zeros the one band there is."""
    filled = np.flatnonzero(number)
    if not filled.size:
        yield 0, 0
        return
    for run in reversed(np.split(filled, np.flatnonzero(np.diff(filled) > GAP) + 1)):
        yield (0 if run[0] == filled[0] else int(run[0])), int(run[-1])


def median_of(number: Floats, size: Floats) -> Floats:
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
