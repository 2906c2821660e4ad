"""Sums: the statistics of an output's elements that a judgement needs, by slices and by bands of
magnitudes.

They are added up piece by piece. Pure: numpy arrays in and out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paritygate.parity.cuts import SAMPLE, Axis, Floats, Grid, Judged, band_of

USUAL = 8  # the usual number of bands of an output
MOST = "most_"  # prefix of the names of largest values; all others are sums


@dataclass(frozen=True)
class Sums:
    """Sums over the parts of one cut: arrays (slices, bands). Elements that are zero are not
    counted.

    - ``number``: number of elements.
    - ``off``, ``own``, ``size``: sums of squares; ``fourth``: sum of fourth powers of ``own``.
    - ``most_off``, ``most_own``, ``most_size``: the largest of each.
    """

    number: Floats
    off: Floats
    own: Floats
    size: Floats
    fourth: Floats
    most_off: Floats
    most_own: Floats
    most_size: Floats

    def by(self, axis: Axis) -> Sums:
        """Return the sums by an axis that lies inside the axis of these sums."""
        rows = axis.place(np.arange(len(self.number)))

        def joined(name: str) -> Floats:
            table = np.zeros((axis.length, self.number.shape[1]))
            (np.maximum if name.startswith(MOST) else np.add).at(table, rows, getattr(self, name))
            return table

        return Sums(*(joined(name) for name in NAMES))

    def only(self, bands: NDArray[np.bool_]) -> Sums:
        """Return the same sums with zeros in all bands but ``bands``."""
        return (
            self
            if bands.all()
            else Sums(*(np.where(bands, getattr(self, name), 0.0) for name in NAMES))
        )


NAMES = tuple(one.name for one in fields(Sums))


class Tally:
    """Sums of an output by the groups of its grid, while they are added up.

    The first column holds the zeros, which join the lowest band in the end. ``small``: the share of
    its size by which an element may be off anywhere.
    """

    def __init__(self, grid: Grid, count: int, small: float) -> None:
        self._groups, self._small = grid.groups(count // USUAL), small
        self._tables = [
            {name: np.zeros((group.length, 1)) for name in NAMES} for group, _ in self._groups
        ]
        self._beyond = {"beyond": np.zeros((1, 1))}
        self.lowest, self._bands = 0, 0

    def add(self, piece: Judged) -> None:
        """Add a piece."""
        band, real = band_of(piece.size), piece.size > 0
        if real.all():
            self._reach(int(band.min()), int(band.max()))
            column = band - np.int16(self.lowest - 1)
        else:
            if real.any():
                self._reach(int(band[real].min()), int(band[real].max()))
            column = np.where(real, band - np.int16(self.lowest - 1), np.int16(0))
        np.maximum.at(self._beyond["beyond"][0], column[piece.off > self._small * piece.size], 1.0)
        own = piece.own**2
        values: dict[str, NDArray[Any]] = {
            "number": real.astype(np.float64),
            "off": piece.off**2,
            "own": own,
            "size": piece.size**2,
            "fourth": own**2,
            "most_off": piece.off,
            "most_own": piece.own,
            "most_size": piece.size,
        }
        for (group, _), table in zip(self._groups, self._tables, strict=True):
            key = group.place(piece.at) * (self._bands + 1) + column
            for name, one in values.items():
                (np.maximum if name.startswith(MOST) else np.add).at(
                    table[name].reshape(-1), key, one
                )

    def cuts(self) -> Iterator[tuple[Axis, Sums]]:
        """Yield the sums of the whole output, and by every axis that is judged. The lowest band is
        ``lowest``.
        """
        for (_, axes), table in zip(self._groups, self._tables, strict=True):
            sums = Sums(*(_with_zeros(name, table[name]) for name in NAMES))
            yield from ((axis, sums.by(axis)) for axis in axes if axis.name != SAMPLE)

    @property
    def beyond(self) -> NDArray[np.bool_]:
        """A mask of the bands in which an element is off by more than it may be anywhere."""
        bands: NDArray[np.bool_] = _with_zeros(MOST, self._beyond["beyond"])[0] > 0
        return bands

    def _reach(self, lowest: int, highest: int) -> None:
        """Make columns for the bands ``lowest`` to ``highest``, too."""
        if not self._bands:
            self.lowest = lowest
        before, behind = (
            max(0, self.lowest - lowest),
            max(0, highest + 1 - self.lowest - self._bands),
        )
        if not before and not behind:
            return
        for table in (*self._tables, self._beyond):
            for name, sums in table.items():
                wide = np.zeros((len(sums), 1 + before + self._bands + behind))
                wide[:, 0], wide[:, 1 + before : 1 + before + self._bands] = (
                    sums[:, 0],
                    sums[:, 1:],
                )
                table[name] = wide
        self.lowest, self._bands = min(self.lowest, lowest), before + self._bands + behind


def summed(pieces: Iterable[Judged], grid: Grid, count: int, small: float = 0.0) -> Tally:
    """Return the sums of the pieces of an output that has ``count`` elements."""
    tally = Tally(grid, count, small)
    for piece in pieces:
        if piece.size.size:
            tally.add(piece)
    return tally


def _with_zeros(name: str, table: Floats) -> Floats:
    """Return the table with the column of the zeros added to that of the lowest band."""
    if table.shape[1] == 1:
        return table
    joined = table[:, 1:].copy()
    joined[:, 0] = (
        np.maximum(joined[:, 0], table[:, 0])
        if name.startswith(MOST)
        else joined[:, 0] + table[:, 0]
    )
    return joined
