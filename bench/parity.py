"""When do two answers agree? The candidate's error against float64, measured by eager's own error. Version 2.

    e(x)   = ||x - reference||2 / ||reference||2       over all checked input sets at once
    ratio  = e(candidate) / max(e(eager), floor)

    agree  = same shapes and dtypes, NaN and infinities where eager has them
             and of every level (elements of like magnitude) of every output: ratio <= R and e(candidate) <= cap
             and of every part (a band of magnitudes, of the whole or of one slice): ratio <= R
             and of every level and part: max|candidate - reference| <= outlier bound

R grows where a part has few elements, see ``bench.parts``. Version 1 had one norm and one bound for the whole output;
its numbers are kept beside as ``whole``. What no dtype can hold (float64's -1.8e308 beside float32's -3.4e38) is
compared with eager's. A level in which eager itself is off by more than the cap is unchecked alone, unless the
candidate is off by far more than eager.

Pure: numpy arrays in, a Parity out. R, cap, floor and outlier are rows of ``tolerances.csv``, calibrated by
``python -m bench.evidence.calibrate``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import cuts, parts
from bench.tolerance import Tolerance

Array = NDArray[Any]
Floats = NDArray[np.float64]
Outputs = Sequence[Array]  # the output tensors of one call
Sets = Sequence[Outputs]  # the outputs for each input set
Masks = Sequence[Sequence[Array | None]]  # for each of them which elements are compared; None: all

TINY = 1e-300
GROSS = 100.0  # times eager's own error: what is off by so much is a fault even where eager is too coarse to judge by
FILL = 1e-3  # of the largest number of a dtype: from there on a number stands for "as large as can be"


@dataclass(frozen=True)
class Parity:
    """The outcome of a comparison; all numbers are of the output that came closest to its limit.

    ``share`` is the largest over all levels and parts of: ratio over R, error over cap, largest element over its bound.
    Above 1 fails. ``error``, ``allowed``, ``eager_error`` and ``ratio`` are of the level (elements of like magnitude)
    that came closest, ``part`` is what decided, where that is smaller than a level. ``worst`` is the element farthest
    off there: input set, output, index, and the three values. ``undetermined``: it does not agree, and rounding alone
    may explain every output that does not. ``coarse``: outputs that are wholly unchecked: eager itself is too far from
    the reference there. ``uncompared``: how many elements were not compared, by reason. ``whole``: the numbers of
    the rule's version 1, one norm for the whole output. ``second_look``: a part seemed wrong, and was judged again by
    eager's twins.
    """

    agrees: bool
    error: float
    allowed: float
    share: float
    eager_error: float
    ratio: float
    max_abs: float
    max_rel: float
    problem: str
    worst: dict[str, Any]
    compared: int
    undetermined: bool = False
    part: dict[str, Any] = field(default_factory=dict)
    coarse: tuple[int, ...] = ()
    uncompared: dict[str, int] = field(default_factory=dict)
    whole: dict[str, float] = field(default_factory=dict)
    second_look: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the record."""
        return asdict(self)

    @property
    def nothing(self) -> bool:
        """Whether no element was compared that the answer could be judged by."""
        return self.agrees and not self.compared

    def explain(self) -> str:
        """What was compared, how far apart, how far is allowed, and where: one or two sentences."""
        if self.coarse and self.nothing:
            cap = self.whole["allowed"]
            return f"output {self.coarse[0]}: eager's own error {self.eager_error:.3g}, {cap:.3g} is allowed"
        if self.agrees:
            return f"agrees: error {self.error:.2g}, {self.share:.0%} of what is allowed"
        text = self.problem
        if self.worst:
            where = f"input set {self.worst['set']}, output {self.worst['output']}, index {self.worst['index']}"
            text += (
                f". Farthest off at {where}: got {self.worst['candidate']:.9g}, "
                f"reference {self.worst['reference']:.9g}, eager {self.worst['eager']:.9g}"
            )
        return text


class Undecidable(ArithmeticError):
    """A number that decides is not a number: an error of the harness, never a verdict."""


def compare(
    candidate: Sets, eager: Sets, reference: Sets | None, tolerance: Tolerance, common: int | None = None,
    jumps: Sequence[float] = (), masks: Masks | None = None, twins: Sequence[Sets] = (),
) -> Parity:  # fmt: skip
    """How the candidate's answers compare with the reference, output by output.

    ``common``: the outputs from this one on are parts of one whole (the gradients of a model), and the norm of a part
    counts as at least ``tolerance.least`` of what its size lets expect of the whole's.

    ``jumps``: for every output how far rounding moves the reference itself, over the same norm. What is off by no more
    than R times that is no fault, and no agreement either.

    ``twins``: further answers of eager's, off by rounding; a part may be as far off as the worst of them is.

    ``masks``: which elements of each output are compared, broadcast over its last axes; None: all.

    ``reference`` None: eager itself is the reference, and the cap alone decides. Integer and boolean outputs
    must be equal. Arrays have their own dtypes for ``candidate`` and ``eager``, float64 for ``reference``;
    bf16, which numpy lacks, comes as float32 on both sides, the names of dtypes are compared by the caller.

    Raises ``Undecidable`` where a number that decides is not a number.
    """
    problem = _different_layout(candidate, eager)
    if problem:
        return Parity(False, math.inf, tolerance.cap, math.inf, 0.0, math.inf, math.inf, math.inf, problem, {}, 0)
    if not eager[0]:
        return Parity(True, 0.0, tolerance.cap, 0.0, 0.0, 0.0, 0.0, 0.0, "", {}, 0)
    candidate, eager = _real(candidate), _real(eager)
    reference = None if reference is None else _real(reference)
    others = [_real(twin) for twin in twins]
    least = _least_norms(eager if reference is None else reference, common, tolerance.least)
    outcomes = [
        _Output(number, candidate, eager, reference, masks).judge(tolerance, least[number], others)
        for number in range(len(eager[0]))
    ]
    return _joined(outcomes, tolerance, jumps)


def _joined(outcomes: Sequence[Parity], tolerance: Tolerance, jumps: Sequence[float]) -> Parity:
    """The outcome of all outputs: that of the one that came closest to its limit."""
    failed = {number for number, outcome in enumerate(outcomes) if not outcome.agrees}
    explained = {
        number
        for number, jump in enumerate(jumps)
        if number in failed and math.isfinite(outcomes[number].share)  # not where a NaN is, or an integer differs
        and outcomes[number].whole["error"] <= tolerance.ratio * jump
    }  # fmt: skip
    undetermined = bool(explained) and failed == explained
    judged = [outcome for number, outcome in enumerate(outcomes) if undetermined or number not in explained]
    told = max(judged, key=lambda outcome: (not outcome.agrees, not outcome.coarse, outcome.share))
    uncompared: dict[str, int] = {}
    for outcome in outcomes:
        for reason, count in outcome.uncompared.items():
            uncompared[reason] = uncompared.get(reason, 0) + count
    return replace(
        told,
        undetermined=undetermined,
        coarse=tuple(number for outcome in outcomes for number in outcome.coarse),
        compared=sum(outcome.compared for outcome in outcomes),
        uncompared=uncompared,
    )


def distances(moved: Sets, reference: Sets, tolerance: Tolerance, common: int | None) -> list[float]:
    """For every output how far ``moved`` is from the reference, over the norm of the whole output."""
    found = []
    for number, least in enumerate(_least_norms(reference, common, tolerance.least)):
        truth, other = (_flat([outputs[number] for outputs in sets]) for sets in (reference, moved))
        found.append(float(np.linalg.norm(other - truth)) / max(float(np.linalg.norm(truth)), least))
    return found


def _real(sets: Sets) -> list[list[Array]]:
    """Complex arrays with a last axis for real and imaginary part, all others as they are."""
    return [[np.stack([a.real, a.imag], -1) if a.dtype.kind == "c" else a for a in outputs] for outputs in sets]


def _different_layout(candidate: Sets, eager: Sets) -> str:
    for number, (ours, theirs) in enumerate(zip(candidate, eager, strict=True)):
        if len(ours) != len(theirs):
            return f"input set {number}: {len(ours)} output tensors, eager gives {len(theirs)}"
        for output, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if a.shape != b.shape:
                return f"input set {number}, output {output}: shape {a.shape}, eager's is {b.shape}"
            if a.dtype != b.dtype:
                return f"input set {number}, output {output}: dtype {a.dtype}, eager's is {b.dtype}"
    return ""


def _least_norms(truth: Sets, common: int | None, share: float) -> list[float]:
    """For every output the norm that it counts as having at least."""
    least = [TINY] * len(truth[0])
    if common is not None:
        gradients = [_flat([outputs[number] for outputs in truth]) for number in range(common, len(truth[0]))]
        square = sum(float(np.square(part[np.isfinite(part)]).sum()) for part in gradients)
        each = share * math.sqrt(square / max(1, sum(part.size for part in gradients)))
        least[common:] = [max(TINY, each * math.sqrt(part.size)) for part in gradients]
    return least


class _Output:
    """One output over all input sets, flat: the candidate's, eager's and the reference's numbers."""

    def __init__(self, number: int, candidate: Sets, eager: Sets, reference: Sets | None, masks: Masks | None) -> None:
        self.number, self.eager_is_truth = number, reference is None
        self.sets = [outputs[number] for outputs in candidate]
        self.theirs = theirs = [outputs[number] for outputs in eager]
        self.exact = theirs[0].dtype.kind in "iub"
        self.asked = _asked(theirs, None if masks is None else [outputs[number] for outputs in masks])
        self.ours, self.base = _flat(self.sets), _flat(theirs)
        self.truth = self.base
        if not self.exact and reference is not None:
            self.truth = _flat([outputs[number] for outputs in reference])
        info = np.finfo(theirs[0].dtype if theirs[0].dtype.kind == "f" else np.float32)
        limit, self.smallest = min(float(info.max), cuts.LARGEST), max(float(info.smallest_normal), cuts.SMALLEST)
        self.size = np.abs(self.truth)
        self.saturated = self.size > limit
        if self.saturated.any():
            stands = (np.abs(self.base) >= FILL * limit) & (np.sign(self.base) == np.sign(self.truth))
            self.saturated &= stands & np.isfinite(self.base)
            self.truth = np.where(self.saturated, np.clip(self.base, -limit, limit), self.truth)
            self.size = np.abs(self.truth)
        if limit == cuts.LARGEST:
            self.ours, self.base = (
                np.where(np.isfinite(v), np.clip(v, -limit, limit), v) for v in (self.ours, self.base)
            )
        self.finite = np.isfinite(self.truth) & np.isfinite(self.base) & self.asked
        self.compared = self.finite & np.isfinite(self.ours)
        with np.errstate(invalid="ignore"):  # of what is not finite, and not compared
            self.off, self.own = np.abs(self.ours - self.truth), np.abs(self.base - self.truth)
        self.off[~self.compared] = 0.0

    def judge(self, tolerance: Tolerance, least: float, twins: Sequence[Sets] = ()) -> Parity:
        """The outcome for this output alone."""
        whole = self._whole(tolerance, least)
        judged = self._judged(tolerance)
        found = parts.levels(judged, tolerance, least)
        coarse = [one.part for one in found if one.coarse and not one.part.share > GROSS and not self.exact]
        sure = [one.part for one in found if one.part not in coarse]
        unsure = np.zeros(judged.off.shape, bool)
        for one in coarse:
            unsure |= parts.inside(judged, one)
        part = None
        if tolerance.parts and not self.exact:
            part = parts.worst(self._noisier(judged, twins).only(~unsure), tolerance)
        if any(math.isnan(one.share) or not math.isfinite(one.allowed) for one in (*sure, *coarse, part) if one):
            raise Undecidable(f"output {self.number}: how close it comes to its limit is not a number")
        decided = max(sure, key=lambda one: one.share, default=None)
        if part is not None and (decided is None or part.share > max(1.0, decided.share)):
            decided = part
        share = max((one.share for one in (*sure, part) if one is not None), default=0.0)
        problem, wrong = self._problem(share, decided)
        shown = max(sure or coarse, key=lambda one: one.share, default=None)
        count = int(self.asked.sum()) if self.exact else judged.off.size - int(unsure.sum())
        return Parity(
            agrees=not problem,
            error=shown.error if shown else 0.0,
            allowed=shown.allowed if shown else tolerance.cap,
            share=math.inf if wrong is not None else share,
            eager_error=shown.own_error if shown and not self.eager_is_truth else 0.0,
            ratio=shown.error / max(0.0 if self.eager_is_truth else shown.own_error, tolerance.floor) if shown else 0.0,
            max_abs=float(self.off.max(initial=0.0)),
            max_rel=float(np.fmax.reduce(self.off / np.maximum(self.size, TINY), initial=0.0)),
            problem=problem,
            worst=self._worst(wrong, judged, decided) if problem else {},
            compared=count,
            part=asdict(decided) if decided is not None and decided is part else {},
            coarse=(self.number,) if coarse and not count else (),
            uncompared=self._uncompared(int(unsure.sum())),
            whole=whole,
        )

    def _uncompared(self, coarse: int) -> dict[str, int]:
        """How many elements nothing was computed of, by reason; those without a count are left out."""
        counts = {
            "masked": int((~self.asked).sum()),
            "not finite in eager": int((self.asked & ~self.finite).sum()) if not self.exact else 0,
            "saturated": int((self.asked & self.saturated).sum()),
            "too coarse in eager": coarse,
        }
        return {reason: count for reason, count in counts.items() if count}

    def _whole(self, tolerance: Tolerance, least: float) -> dict[str, float]:
        """Version 1 of the rule: one norm and one bound for all. Kept until the table is calibrated for the new one."""
        values, off = _some(self.size, self.finite), _some(self.own, self.finite)
        norm = max(float(np.linalg.norm(values)), least, self.smallest)
        error = float(np.linalg.norm(self.off)) / norm
        own = float(np.linalg.norm(off)) / norm
        allowed = tolerance.cap if self.eager_is_truth else min(
            tolerance.ratio * max(own, tolerance.floor), tolerance.cap
        )  # fmt: skip
        largest = float(off.max(initial=0.0))
        scale = norm / math.sqrt(max(values.size, 1)) * math.sqrt(2 * math.log(max(values.size, 2)))
        expected = allowed * scale if self.eager_is_truth else max(largest, tolerance.floor * scale)
        bound = tolerance.outlier * expected
        most = float(self.off.max(initial=0.0))
        share = max(error / allowed, most / bound if bound else (math.inf if most else 0.0))
        return {"error": error, "allowed": allowed, "eager_error": own, "share": share}

    def _judged(self, tolerance: Tolerance) -> cuts.Judged:
        """The elements that are compared by size.

        Where eager is the reference, it counts as off by what the cap allows: a share of each element's size or of the
        median of those like it.
        """
        size, own, off = (_some(values, self.compared) for values in (self.size, self.own, self.off))
        if self.eager_is_truth and size.size:
            own = tolerance.cap / tolerance.ratio * parts.typical(size)
        size, off, own = (_without(values, self.smallest) for values in (size, off, own))
        grid = cuts.Grid(() if self.exact else tuple(array.shape for array in self.sets))
        return cuts.Judged(np.minimum(off, cuts.LARGEST), own, size, np.flatnonzero(self.compared), grid)

    def _noisier(self, judged: cuts.Judged, twins: Sequence[Sets]) -> cuts.Judged:
        """The same with eager's error as that of the worst of its twins."""
        own = judged.own
        for twin in twins:
            other = _flat([outputs[self.number] for outputs in twin])[self.compared]
            off = np.abs(other - self.truth[self.compared])
            own = np.maximum(own, np.where(np.isfinite(off), off, 0.0))
        return judged.noisier(own) if twins else judged

    def _problem(self, share: float, decided: parts.Part | None) -> tuple[str, NDArray[np.bool_] | None]:
        """What is wrong, or ""; and the elements that are wrong whatever their size."""
        if self.exact or not self.compared.all():
            pairs = zip(self.sets, self.theirs, strict=True)
            unequal = np.concatenate([(ours != theirs).ravel() for ours, theirs in pairs]) & self.asked
            if self.exact and unequal.any():  # judged as integers: float64 rounds the large ones
                return f"output {self.number}: {int(unequal.sum())} of {self.ours.size} integers differ", unequal
            gaps = unequal & ~(np.isfinite(self.ours) & np.isfinite(self.base))
            gaps &= ~(np.isnan(self.ours) & np.isnan(self.base))
            if gaps.any():
                ours, theirs = (int((self.asked & ~np.isfinite(values)).sum()) for values in (self.ours, self.base))
                return f"output {self.number}: {ours} elements are NaN or infinite, {theirs} in eager", gaps
        if self.exact or share <= 1 or decided is None:
            return "", None
        against = "eager" if self.eager_is_truth else "float64"
        where = f" in {decided}" if decided.axis or decided.elements < self.compared.sum() else ""
        text = f"output {self.number}: error {decided.error:.3g} against {against}, allowed {decided.allowed:.3g}"
        if not self.eager_is_truth:
            text += f" (eager's own error {decided.own_error:.3g})"
        text += where
        if decided.largest > decided.largest_allowed:
            text += f"; one element is {decided.largest:.3g} off, allowed {decided.largest_allowed:.3g}"
        return text, None

    def _worst(
        self, wrong: NDArray[np.bool_] | None, judged: cuts.Judged, decided: parts.Part | None
    ) -> dict[str, Any]:
        """Where the element is that is farthest off in the part that decided, and its three values."""
        if not self.ours.size:
            return {}
        if wrong is not None:
            place = int(np.argmax(wrong))
        else:
            assert decided is not None
            within = np.where(parts.inside(judged, decided), judged.off, -1.0)
            place = int(np.flatnonzero(self.compared)[np.argmax(within)])
        rest = place
        for which, array in enumerate(self.sets):
            if rest < array.size:
                index = tuple(int(i) for i in np.unravel_index(rest, array.shape))
                return {
                    "set": which, "output": self.number, "index": index, "candidate": float(self.ours[place]),
                    "reference": float(self.truth[place]), "eager": float(self.base[place]),
                }  # fmt: skip
            rest -= array.size
        return {}


def _asked(arrays: Sequence[Array], masks: Sequence[Array | None] | None) -> NDArray[np.bool_]:
    """Which elements are to be compared: all, or those that the masks of their leading axes leave."""
    parts_of = []
    for number, array in enumerate(arrays):
        mask = None if masks is None else masks[number]
        if mask is None:
            parts_of.append(np.ones(array.size, bool))
            continue
        wide = np.asarray(mask, bool).reshape(mask.shape + (1,) * (array.ndim - mask.ndim))
        parts_of.append(np.broadcast_to(wide, array.shape).ravel())
    return np.concatenate(parts_of)


def _some(values: Floats, kept: NDArray[np.bool_]) -> Floats:
    """The kept values; where all are, the array itself."""
    return values if kept.all() else values[kept]


def _without(values: Floats, smallest: float) -> Floats:
    """The values with those that no dtype holds in full as zeros."""
    tiny = values < smallest
    return np.where(tiny, 0.0, values) if tiny.any() else values


def _flat(arrays: Sequence[Array]) -> Floats:
    return np.concatenate([np.asarray(array, dtype=np.float64).ravel() for array in arrays])
