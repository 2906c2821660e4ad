"""Noise: by how much eager is to be expected to be off, of each element.

One run of eager can be exact by chance, so what it was off by is no measure alone. Pure: numpy
arrays in and out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paritygate.parity.cuts import FEW, Axis, Floats, Judged, totals

FITS = 3  # rounds in which the factors of noise are fitted
QUIET = 25.0  # times the mean square error of a slice that is quieter than usual are expected of it
ENOUGH = 256  # elements of each slice, on average, to which its factor is fitted


def expected(judged: Judged) -> Judged:
    """The same with eager's error as it is to be expected of each element, where that is larger
    than what it is.

    That is a product of factors, one for the band of an element and one for its slice by each axis,
    fitted in turn so that the mean square of each comes out right (iterative proportional fitting):
    noise differs by magnitude, sample and channel. A slice counts as quieter than usual only beyond
    ``QUIET``, since all errors in it may come from one rounding.
    """
    if not judged.off.size or not judged.own.any():
        return judged
    groups = judged.grid.groups(len(judged.at))
    some = _some(judged, groups)
    factors = _fitted(some, [_Slices(some, *group) for group in groups])
    square, noise, lift = judged.own**2, np.ones(len(judged.own)), np.ones(1)
    for slices, of_axes in zip((_Slices(judged, *group) for group in groups), factors, strict=True):
        factor, quiet = np.ones(slices.length), np.ones(slices.length)
        for rows, number, one in zip(slices.rows, slices.numbers, of_axes, strict=True):
            usual = float(one @ number) / number.sum()
            less = np.minimum(np.divide(usual, one, out=np.ones_like(one), where=one > 0), QUIET)
            factor, quiet = factor * one[rows], quiet * np.maximum(less, 1.0)[rows]
        noise *= factor[slices.place]
        lift = lift * quiet[slices.place] if (quiet > 1).any() else lift
    noise *= _by_band(judged, _ratio(square, noise)) * lift
    return judged.noisier(np.sqrt(np.maximum(square, noise)))


class _Slices:
    """Where elements lie by a group of axes, and by each of these, ``rows`` of the group;
    ``numbers`` of elements.
    """

    def __init__(self, judged: Judged, group: Axis, axes: Sequence[Axis]) -> None:
        self.length, self.place = group.length, judged.place(group)
        count = np.bincount(self.place, minlength=group.length).astype(np.float64)
        self.rows = [axis.place(np.arange(group.length)) for axis in axes]
        self.numbers = [
            totals(rows, count, axis.length) for rows, axis in zip(self.rows, axes, strict=True)
        ]


def _some(judged: Judged, groups: Sequence[tuple[Axis, list[Axis]]]) -> Judged:
    """Elements drawn by chance, as many as are enough to know the factor of every slice."""
    share = ENOUGH * max(axis.length for _, axes in groups for axis in axes) / len(judged.at)
    return (
        judged
        if share > 1 / 2
        else judged.only(np.random.default_rng(0).random(len(judged.at)) < share)
    )


def _fitted(judged: Judged, groups: Sequence[_Slices]) -> list[list[Floats]]:
    """The factors of noise of the slices by each axis of each group."""
    square = judged.own**2
    noise = np.full(square.shape, square.mean())
    factors = [[np.ones(len(number)) for number in slices.numbers] for slices in groups]
    for _ in range(FITS):
        for slices, of_axes in zip(groups, factors, strict=True):
            left, changed = (
                totals(slices.place, _ratio(square, noise), slices.length),
                np.ones(slices.length),
            )
            for rows, number, factor in zip(slices.rows, slices.numbers, of_axes, strict=True):
                change = totals(rows, left, len(number)) / np.maximum(number, 1)
                factor *= change
                changed *= change[rows]
                left = _ratio(left, change[rows])
            noise *= changed[slices.place]
        noise *= _by_band(judged, _ratio(square, noise))
    return factors


def _ratio(values: Floats, by: Floats) -> Floats:
    found: Floats = np.divide(values, by, out=np.zeros_like(values), where=by > 0)
    return found


def _by_band(judged: Judged, values: Floats) -> Floats:
    """The mean of each element's band; one with few is joined with larger ones, or is as noisy as
    the one below.
    """
    band, _ = judged.bands
    bands = int(band.max()) + 1
    number, total = (
        totals(band, one, bands) for one in ((judged.size > 0).astype(np.float64), values)
    )
    mean, above = np.zeros(bands), (0.0, 0.0)
    for place in range(bands - 1, -1, -1):
        few = number[place] < FEW
        above = (number[place] + above[0] * few, total[place] + above[1] * few)
        mean[place] = above[1] / max(above[0], 1.0)
    for place in range(1, bands):
        if number[place:].sum() < FEW:
            mean[place] = max(mean[place], mean[place - 1])
    found: Floats = mean[band]
    return found
