"""Elements: the numbers of one output over all input sets, from the candidate, eager and the
reference.

They are processed in pieces: a piece stays in the processor's cache, and allocating memory for
whole outputs costs more than all the arithmetic. Pure: numpy arrays in and out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from paritygate.parity import cuts
from paritygate.parity.cuts import Floats, Judged

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Outputs = Sequence[Array]  # the output tensors of one call
Sets = Sequence[Outputs]  # the outputs for each input set
Masks = Sequence[Sequence[Array | None]]  # for each output the elements to compare; None: all

TINY = 1e-300
# share of a dtype's largest number from which on a number counts as a fill ("as large as possible")
FILL = 1e-3
PIECE = 1 << 15  # elements: their doubles take 256 KiB, and some ten arrays of them fit a cache


@dataclass
class Seen:
    """Counts of the elements of an output, collected while its pieces are made.

    - ``asked``: elements that no mask leaves out.
    - ``finite``: those of them that are finite in eager and the reference.
    - ``compared``: those of them that are finite in the candidate, too.
    - ``saturated``: those asked for that no dtype holds.
    - ``gaps``: those asked for that are not finite in eager or in the candidate.
    - ``largest``: the largest difference of one element; ``relative``: the largest one over its own
      size.
    """

    asked: int = 0
    finite: int = 0
    compared: int = 0
    saturated: int = 0
    gaps: int = 0
    largest: float = 0.0
    relative: float = 0.0


class Three(NamedTuple):
    """Elements in float64, flat: the candidate's, eager's, the reference's, and a mask of the
    saturated ones.
    """

    ours: Floats
    base: Floats
    truth: Floats
    saturated: Bools


class Elements:
    """One output over all input sets. ``exact``: it holds integers, which are compared as such."""

    def __init__(
        self, number: int, candidate: Sets, eager: Sets, reference: Sets | None, masks: Masks | None
    ) -> None:
        self.number, self.eager_is_truth = number, reference is None
        self.sets, self.theirs = (
            [outputs[number] for outputs in sets] for sets in (candidate, eager)
        )
        dtype = self.theirs[0].dtype
        self.exact = dtype.kind in "iub"
        self.truths = self.theirs
        if not self.exact and reference is not None:
            self.truths = [outputs[number] for outputs in reference]
        self._masks = [None if masks is None else outputs[number] for outputs in masks or self.sets]
        info = np.finfo(dtype if dtype.kind == "f" else np.float32)
        self.limit = min(float(info.max), cuts.LARGEST)
        self.smallest = max(float(info.smallest_normal), cuts.SMALLEST)
        self.grid = cuts.Grid(() if self.exact else tuple(array.shape for array in self.sets))
        self.total = sum(array.size for array in self.sets)

    @cached_property
    def of_eager(self) -> bool:
        """Whether the candidate's answers are bit for bit eager's."""
        pairs = zip(self.sets, self.theirs, strict=True)
        return all(
            np.array_equal(ours, base, equal_nan=base.dtype.kind == "f") for ours, base in pairs
        )

    def pieces(self, seen: Seen) -> Iterator[Judged]:
        """Yield the compared elements in order, piece by piece. Adds their counts to ``seen``."""
        for start, asked, *numbers in self._cut():
            three = self._three(*numbers)
            yield self._judged(start, three, asked, seen)

    def judged(self, seen: Seen) -> Judged:
        """Return all compared elements at once. Adds their counts to ``seen``."""
        pieces = list(self.pieces(seen))
        if len(pieces) == 1:
            return pieces[0]
        off, own, size, at = (
            np.concatenate([getattr(piece, name) for piece in pieces] or [np.empty(0)])
            for name in ("off", "own", "size", "at")
        )
        return Judged(off, own, size, at.astype(np.intp), self.grid)

    def off_by(self, perturbed: Sets, at: cuts.Places) -> Floats:
        """Return the distance of another answer (``perturbed``) from the reference at the positions
        ``at``; 0 where it is not finite.
        """
        other = copy.copy(self)
        other.sets = [outputs[self.number] for outputs in perturbed]
        judged, distance = other.judged(Seen()), np.zeros(self.total)
        distance[judged.at] = judged.off
        return distance[at]

    @property
    def unequal(self) -> Bools:
        """A flat mask of the elements that differ from eager's. Masked elements are False."""
        pairs = zip(self.sets, self.theirs, strict=True)
        return np.concatenate([(ours != base).ravel() for ours, base in pairs]) & self._asked

    def gaps(self) -> tuple[Bools, int, int]:
        """Return a flat mask of the elements that are not finite on one side only, or not in the
        same way. Return also the number of NaN and infinities in the candidate, and in eager.
        """
        ours, base = flat(self.sets), flat(self.theirs)
        differ = (
            self.unequal
            & ~(np.isfinite(ours) & np.isfinite(base))
            & ~(np.isnan(ours) & np.isnan(base))
        )
        ours_are, base_is = (
            int((self._asked & ~np.isfinite(values)).sum()) for values in (ours, base)
        )
        return differ, ours_are, base_is

    def at(self, place: int) -> dict[str, Any]:
        """Return the element at a position: input set, output, index, and its three values."""
        rest = place
        for which, array in enumerate(self.sets):
            if rest < array.size:
                index = tuple(int(i) for i in np.unravel_index(rest, array.shape))
                three = self._three(
                    *(
                        np.asarray(arrays[which][index]).reshape(1)
                        for arrays in (self.sets, self.theirs, self.truths)
                    )
                )
                return {
                    "set": which,
                    "output": self.number,
                    "index": index,
                    "candidate": float(three.ours[0]),
                    "reference": float(three.truth[0]),
                    "eager": float(three.base[0]),
                }
            rest -= array.size
        raise IndexError(place)

    @property
    def _asked(self) -> Bools:
        return np.concatenate(
            [_every(mask, one) for mask, one in zip(self._masks, self.sets, strict=True)]
        )

    def _cut(self) -> Iterator[tuple[int, Bools | None, Array, Array, Array]]:
        """Yield the position of the first element, the mask (None: all), and the candidate's,
        eager's and the reference's numbers, piece by piece.
        """
        columns = (self.sets, self.theirs, self.truths)
        if self.total <= PIECE:
            asked = self._asked if any(mask is not None for mask in self._masks) else None
            ours, base, truth = (
                np.concatenate([one.reshape(-1) for one in arrays]) for arrays in columns
            )
            yield 0, asked, ours, base, truth
            return
        first = 0
        for mask, *arrays in zip(self._masks, *columns, strict=True):
            asked = None if mask is None else _every(mask, arrays[0])
            ours, base, truth = (array.reshape(-1) for array in arrays)
            for start in range(0, ours.size, PIECE):
                part = slice(start, start + PIECE)
                yield (
                    first + start,
                    None if asked is None else asked[part],
                    ours[part],
                    base[part],
                    truth[part],
                )
            first += ours.size

    def _three(self, ours: Array, base: Array, truth: Array) -> Three:
        """Return the numbers in float64. A reference that no dtype holds is replaced by eager's
        fill, where eager has one.
        """
        ours, base, truth = (np.asarray(values, np.float64) for values in (ours, base, truth))
        saturated = np.abs(truth) > self.limit
        if saturated.any():
            stands = (np.abs(base) >= FILL * self.limit) & (np.sign(base) == np.sign(truth))
            saturated &= stands & np.isfinite(base)
            truth = np.where(saturated, np.clip(base, -self.limit, self.limit), truth)
        if self.limit == cuts.LARGEST:
            ours, base = (
                np.where(np.isfinite(v), np.clip(v, -self.limit, self.limit), v)
                for v in (ours, base)
            )
        return Three(ours, base, truth, saturated)

    def _judged(self, start: int, three: Three, asked: Bools | None, seen: Seen) -> Judged:
        """Return distances and magnitudes of the elements that are compared. Add to ``seen``.
        Subnormal magnitudes count as zero.
        """
        ours, base, truth, saturated = three
        size, at = np.abs(truth), np.arange(start, start + truth.size)
        with np.errstate(invalid="ignore"):  # elements that are not finite are not compared
            off, own = np.abs(ours - truth), np.abs(base - truth)
        wanted = np.ones(truth.shape, bool) if asked is None else asked
        seen.asked += int(np.count_nonzero(wanted))
        seen.saturated += int(np.count_nonzero(wanted & saturated))
        finite = wanted & np.isfinite(own)
        compared = finite & np.isfinite(off)
        seen.finite += int(np.count_nonzero(finite))
        seen.gaps += int(np.count_nonzero(wanted & ~(np.isfinite(ours) & np.isfinite(base))))
        if not compared.all():
            off, own, size, at = off[compared], own[compared], size[compared], at[compared]
        seen.compared += off.size
        seen.largest = max(seen.largest, float(off.max(initial=0.0)))
        seen.relative = max(seen.relative, float((off / np.maximum(size, TINY)).max(initial=0.0)))
        tiny = size < self.smallest  # the dtype holds these with fewer digits, or as zero
        if tiny.any():
            off[tiny & (off < self.smallest)] = 0.0
            own[tiny & (own < self.smallest)] = 0.0
            size[tiny] = 0.0
        for values in (off, own, size):
            np.minimum(values, cuts.LARGEST, out=values)
        return Judged(off, own, size, at, self.grid)


def flat(arrays: Sequence[Array]) -> Floats:
    """Return the numbers of several arrays, one after the other, in float64."""
    return np.concatenate([np.asarray(array, np.float64).reshape(-1) for array in arrays])


def _every(mask: Array | None, array: Array) -> Bools:
    """Return a flat mask of the elements of an array that are asked for: all, or those that
    ``mask``, over its leading axes, leaves.
    """
    if mask is None:
        return np.ones(array.size, bool)
    wide = np.asarray(mask, bool).reshape(mask.shape + (1,) * (array.ndim - mask.ndim))
    return np.broadcast_to(wide, array.shape).reshape(-1)
