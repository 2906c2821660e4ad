"""Screen: shows cheaply that no part of an output can be wrong. Most outputs need no closer look than this.

Where eager's noise is even, that is no slice is much quieter than others, it is to be expected of each element by its
magnitude alone (see ``bench.noise``). Then it is enough that the squares of what the candidate is off by, over that
noise, stay well within R squared in every part. What is off by up to a third more than its limit may still pass, since
the noise of a slice is only estimated here. Pure: numpy arrays in and out.
"""

from __future__ import annotations

import numpy as np

from bench.cuts import FEW, Axis, Floats, Judged, Places, totals
from bench.noise import QUIET, by_band
from bench.tolerance import Tolerance

SAFE = 3.0  # by which squares are held below what the rule allows, which knows the noise of each slice


def doubtful(judged: Judged, limits: Tolerance) -> Judged:
    """The elements of which parts are to be judged: none where no part can be wrong.

    Bands in which no element is off by more than the floor allows are as they should be, whatever they are cut into.
    The others take those above along, which they may join.
    """
    beyond = judged.off > limits.ratio * limits.floor / SAFE * judged.size
    band, _ = judged.bands
    found = np.bincount(band[beyond], minlength=int(band.max()) + 2) > 0
    some = judged.only(found[band])
    if not some.off.size or _passes(some, limits):
        return judged.only(np.zeros(band.shape, bool))
    found[1:] |= found[:-1]
    return judged.only(found[band])


def _passes(judged: Judged, limits: Tolerance) -> bool:
    """Whether no part can be wrong; False where that cannot be told so cheaply."""
    band, _ = judged.bands
    bands, own = int(band.max()) + 1, judged.own**2
    number = totals(band, (judged.size > 0).astype(np.float64), bands)
    noise = by_band(totals(band, own, bands), number)[band]
    unit = np.maximum(noise, (limits.floor * judged.size) ** 2)
    if not unit.all():
        return False
    far = judged.off**2 / unit
    if float(far.max()) > limits.outlier**2:
        return False
    loud = np.divide(own, noise, out=np.ones_like(own), where=noise > 0)
    for half, axes in judged.grid.halves():
        if half.length * bands > len(far):
            return False  # as many parts as elements
        place = half.place(judged.at)
        key, cells = place * bands + band, (half.length, bands)
        counts = np.bincount(key, minlength=half.length * bands).astype(np.float64)
        squares = totals(key, far, half.length * bands)
        loudness = totals(place, loud, half.length)
        for axis in axes:
            rows = axis.place(np.arange(half.length))
            count, square = (_summed(rows, table.reshape(cells), axis) for table in (counts, squares))
            if not _within(count, square, limits) or _quiet(count, _summed(rows, loudness[:, None], axis)):
                return False
    return True


def _within(count: Floats, square: Floats, limits: Tolerance) -> bool:
    """Whether the squares of all parts are; those with few elements may take along what the next ones hold."""
    few = bool(((count > 0) & (count < FEW)).any())
    enough = np.maximum(count, FEW)
    return bool((square <= limits.ratio_of(enough) ** 2 / SAFE / (1 + few) * enough).all())


def _quiet(count: Floats, loudness: Floats) -> bool:
    """Whether eager is exact, or nearly so, in a slice, which says that more is to be expected there."""
    number = count.sum(1)
    return bool((loudness[:, 0][number >= FEW] < number[number >= FEW] / QUIET).any())


def _summed(rows: Places, table: Floats, axis: Axis) -> Floats:
    found = np.zeros((axis.length, table.shape[1]))
    np.add.at(found, rows, table)
    return found
