"""Noise: by how much eager is to be expected to be off, of each element.

One run of eager can be exact by chance, so what it was off by is no measure alone. Pure: numpy arrays in and out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.cuts import FEW, Floats, Judged, totals

FITS = 3  # rounds in which the factors of noise are fitted
QUIET = 25.0  # times the mean square error of a slice that is quieter than usual are expected of it


def expected(judged: Judged) -> Judged:
    """The same with eager's error as it is to be expected of each element, where that is larger than what it is.

    That is a product of factors, one for the band of an element and one for its slice in each grouping, fitted in turn
    so that the mean square of each comes out right (iterative proportional fitting): noise differs by magnitude, sample
    and channel. A slice counts as quieter than usual only beyond ``QUIET``, since all errors in it may come from one
    rounding.
    """
    if not judged.off.size or not judged.own.any():
        return judged
    band, _ = judged.bands
    bands, square = int(band.max()) + 1, judged.own**2
    number = totals(band, (judged.size > 0).astype(np.float64), bands)
    noise = np.full(square.shape, square.mean())
    groupings = [(place, np.bincount(place)) for _, place in (*judged.samples(), *judged.places())]
    factors = [np.ones(len(count)) for _, count in groupings]

    def ratio() -> Floats:
        found: Floats = np.divide(square, noise, out=np.zeros_like(noise), where=noise > 0)
        return found

    for _ in range(FITS):
        for (place, count), factor in zip(groupings, factors, strict=True):
            change = totals(place, ratio(), len(count)) / np.maximum(count, 1)
            factor *= change
            noise *= change[place]
        noise *= by_band(totals(band, ratio(), bands), number)[band]
    for (place, count), factor in zip(groupings, factors, strict=True):
        usual = float(factor @ count) / count.sum()
        quiet = np.minimum(np.divide(usual, factor, out=np.ones_like(factor), where=factor > 0), QUIET)
        noise *= np.maximum(quiet, 1.0)[place]
    return replace(judged, own=np.sqrt(np.maximum(square, noise)))


def by_band(total: Floats, number: Floats) -> Floats:
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
