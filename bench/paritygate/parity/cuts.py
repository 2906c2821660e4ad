"""Cuts: the elements of an output, grouped by magnitude and by place.

By *magnitude*: elements within a factor of eight form a band. Bands without a gap of about 1000
between them form a *level* (logits are one level, the -1e9 beside them are another). By *place*:
every index of every axis (a channel, a position, an input set) is a slice. Pure: numpy arrays in
and out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

BAND = 3  # powers of two in a band of magnitudes
GAP = 3  # empty bands between two levels: at least a factor of 512
SAMPLE = "sample"  # the axis that is not judged
FEW = 16  # elements; fewer are not judged alone
LARGEST, SMALLEST = 1e70, 1e-70  # beyond these squares of squares overflow


@dataclass(frozen=True)
class Axis:
    """An axis of an output. It knows the index of an element at a flat position.

    ``starts``: the position at which each input set begins. Used instead of a stride where the sets
    differ in size.
    """

    name: str
    stride: int
    length: int
    starts: tuple[int, ...] = ()

    def place(self, at: Places) -> Places:
        """Return the index of each position in ``at``. The positions must ascend."""
        if self.starts:
            return np.searchsorted(np.array(self.starts), at, side="right") - 1
        index = at if self.stride == 1 else at // self.stride
        if not at.size or index[-1] < self.length:  # positions ascend
            return index
        # numpy divides fast, and takes remainders slowly
        return index - index // self.length * self.length


@dataclass(frozen=True)
class Grid:
    """The layout of an output's elements: its shape in each input set. The sets are laid flat, one
    after the other.
    """

    shapes: tuple[tuple[int, ...], ...]

    def axes(self) -> list[Axis]:
        """Return the axes of which every slice has enough elements for a judgement of its own.

        An output whose shape changes from set to set has the sets as its only axis.
        """
        sizes = [math.prod(shape) for shape in self.shapes]
        if len(set(self.shapes)) > 1:
            starts = tuple(int(start) for start in np.cumsum([0, *sizes[:-1]]))
            return [Axis("input set", 1, len(sizes), starts)] if min(sizes) >= FEW else []
        total, axes, stride = sum(sizes), [], sum(sizes)
        names = (
            ("input set", *(f"axis {axis} index" for axis in range(len(self.shapes[0]))))
            if self.shapes
            else ()
        )
        for name, length in zip(names, self._lengths(), strict=True):
            stride //= max(length, 1)
            if length > 1 and total // length >= FEW:
                axes.append(Axis(name, stride, length))
        return axes

    def samples(self) -> list[Axis]:
        """Return the first axis, with one index for each sample of each input set, where its slices
        have enough elements.

        Samples differ in noise. They are not judged alone, since all errors of a sample may come
        from one rounding.
        """
        if len(set(self.shapes)) != 1 or not self.shapes[0] or self.shapes[0][0] < 2:
            return []
        rest = math.prod(self.shapes[0][1:])
        return [Axis(SAMPLE, rest, len(self.shapes) * self.shapes[0][0])] if rest >= FEW else []

    def groups(self, most: int) -> list[tuple[Axis, list[Axis]]]:
        """Return groups of axes: each a joint axis, and the axes inside it.

        The leading axes form one group and the trailing axes another. Sums by the index of a group
        are cheap to sum up by each of its axes. Where a group would have more than ``most``
        indices, every axis is a group of its own. The first axis is the whole output and has no
        name.
        """
        total = sum(math.prod(shape) for shape in self.shapes)
        every = [Axis("", max(total, 1), 1), *self.samples(), *self.axes()]
        strides = [
            math.prod(self._lengths()[place:]) for place in range(2, len(self._lengths()) + 1)
        ]
        cut = min(strides, key=lambda stride: max(stride, total // max(stride, 1)), default=0)
        groups = []
        if len(set(self.shapes)) == 1 and cut > 0 and total // cut <= most:
            lead = [axis for axis in every if axis.stride >= cut]
            inside = [Axis(axis.name, axis.stride // cut, axis.length) for axis in lead]
            groups, every = [(Axis("", cut, total // cut), inside)], every[len(lead) :]
            if every and cut <= most:
                return [*groups, (Axis("", 1, cut), every)]
        return [*groups, *((axis, [Axis(axis.name, 1, axis.length)]) for axis in every)]

    def _lengths(self) -> tuple[int, ...]:
        return (len(self.shapes), *self.shapes[0]) if self.shapes else ()


@dataclass(frozen=True)
class Judged:
    """The compared elements of one output, over all input sets. All arrays are flat and of one
    length.

    - ``off``: the distance of the candidate from the reference.
    - ``own``: the distance of eager from the reference.
    - ``size``: the magnitude of the reference.
    - ``at``: the position in ``grid``.
    """

    off: Floats
    own: Floats
    size: Floats
    at: Places
    grid: Grid = Grid(())

    def only(self, kept: NDArray[np.bool_]) -> Judged:
        """Return the elements that the mask ``kept`` selects."""
        if kept.all():
            return self
        return Judged(self.off[kept], self.own[kept], self.size[kept], self.at[kept], self.grid)

    def noisier(self, own: Floats) -> Judged:
        """Return the same elements with ``own`` as eager's error."""
        other = replace(self, own=own)
        vars(other).update(bands=self.bands, _places=self._places)  # magnitudes and places stay
        return other

    @cached_property
    def _places(self) -> dict[Axis, Places]:
        return {}

    def place(self, group: Axis) -> Places:
        """Return the index of each element on the axis of a group."""
        if group not in self._places:
            self._places[group] = group.place(self.at)
        return self._places[group]

    @cached_property
    def bands(self) -> tuple[Places, int]:
        """The result of ``bands_of`` for the magnitudes."""
        return bands_of(self.size)


def band_of(size: Floats) -> NDArray[np.int16]:
    """Return the band of each magnitude. The band of a zero means nothing."""
    return np.frexp(size)[1].astype(np.int16) // np.int16(BAND)


def bands_of(size: Floats) -> tuple[Places, int]:
    """Return the band of each magnitude, counted from the lowest one, and the number of the lowest
    one. Zeros join the lowest band.
    """
    exponents, real = band_of(size), size > 0
    if not real.any():
        return np.zeros(size.shape, np.intp), 0
    lowest = int(exponents.min(where=real, initial=np.iinfo(np.int16).max))
    return np.where(real, exponents - lowest, 0).astype(np.intp), lowest


def edges(first: int, last: int, lowest: int) -> tuple[float, float]:
    """Return the lower and the upper magnitude of the bands ``first`` to ``last``.

    2**e has the mantissa 0.5, so its exponent in frexp is e + 1. Zeros join the lowest band.
    """
    return 2.0 ** ((first + lowest) * BAND - 1) if first else 0.0, 2.0 ** (
        (last + lowest + 1) * BAND - 1
    )


def between(size: Floats, low: float, high: float) -> NDArray[np.bool_]:
    """Return a mask of the magnitudes that lie within two edges."""
    return (size >= low) & (size < high)


def runs(number: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last band of each level, largest magnitudes first. ``number``:
    elements in each band. An output of zeros has one level, band 0.
    """
    filled = np.flatnonzero(number)
    if not filled.size:
        yield 0, 0
        return
    for run in reversed(np.split(filled, np.flatnonzero(np.diff(filled) > GAP) + 1)):
        yield (0 if run[0] == filled[0] else int(run[0])), int(run[-1])


def median_of(number: Floats, size: Floats) -> Floats:
    """Return the median size of the level that each part belongs to. Parts without such a level,
    e.g. of zeros alone, get the median of the level above.

    ``number`` and ``size``: count and sum of squares, arrays (slices, bands), as the result. It is
    the median, because a few huge elements tell nothing about the inputs of the others.
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
    medians, above = np.zeros((slices, bands)), np.zeros(slices)
    for band in range(bands - 1, -1, -1):
        level = rows + run[:, band]
        own = filled[:, band] & ((total[level] >= FEW) | (above == 0))
        above = np.where(own, median[level], above)
        medians[:, band] = above
    return medians


def totals(place: Places, values: Floats, length: int) -> Floats:
    """Return the sum of the values at each place."""
    return np.bincount(place, weights=values, minlength=length).astype(np.float64)
