"""Noise: the error that eager is expected to have in each element.

One run of eager can be exact by chance, so its error alone is no measure. Pure: numpy arrays in and
out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from paritygate.parity.cuts import FEW, Axis, Floats, Judged, totals

FITS = 3  # rounds of fitting the factors of noise
QUIET = 25.0  # limit on the factor by which a quiet slice is raised towards the usual noise
ENOUGH = 256  # elements of each slice, on average, to which its factor is fitted


def expected(judged: Judged) -> Judged:
    """Return the same elements with eager's error replaced by the expected one, where that is
    larger.

    The expected error is a product of factors, one for the band of an element and one for its slice
    by each axis. They are fitted in turn so that the mean square of each comes out right (iterative
    proportional fitting), since noise differs by magnitude, sample and channel. A slice counts as
    quieter than usual only beyond ``QUIET``, since all errors in it may come from one rounding.
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
    """The slice of each element by a group of axes (``place``). For each axis of the group: the
    slice of each index of the group (``rows``), and the number of elements in each slice
    (``numbers``).
    """

    def __init__(self, judged: Judged, group: Axis, axes: Sequence[Axis]) -> None:
        self.length, self.place = group.length, judged.place(group)
        count = np.bincount(self.place, minlength=group.length).astype(np.float64)
        self.rows = [axis.place(np.arange(group.length)) for axis in axes]
        self.numbers = [
            totals(rows, count, axis.length) for rows, axis in zip(self.rows, axes, strict=True)
        ]


def _some(judged: Judged, groups: Sequence[tuple[Axis, list[Axis]]]) -> Judged:
    """Return elements drawn at random, enough of them to fit the factor of every slice."""
    share = ENOUGH * max(axis.length for _, axes in groups for axis in axes) / len(judged.at)
    return (
        judged
        if share > 1 / 2
        else judged.only(np.random.default_rng(0).random(len(judged.at)) < share)
    )


def _fitted(judged: Judged, groups: Sequence[_Slices]) -> list[list[Floats]]:
    """Return the factors of noise of the slices, by each axis of each group."""
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
    ratio: Floats = np.divide(values, by, out=np.zeros_like(values), where=by > 0)
    return ratio


def _by_band(judged: Judged, values: Floats) -> Floats:
    """Return the mean of each element's band. A band with few elements is joined with larger ones,
    or is as noisy as the one below.
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
    by_element: Floats = mean[band]
    return by_element
