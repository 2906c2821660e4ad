"""When do two answers agree? The candidate's error against float64, measured by eager's own error.
Version 2.

    e(x)   = ||x - reference||2 / ||reference||2       over all checked input sets at once
    ratio  = e(candidate) / max(e(eager), floor)

    agree  = same shapes and dtypes, NaN and infinities where eager has them
             and of every level (elements of like magnitude) of every output: ratio <= R and e(candidate) <= cap
             and of every part (a band of magnitudes, of the whole or of one slice): ratio <= R
             and of every level and part: max|candidate - reference| <= outlier bound

R grows where a part has few elements, see ``paritygate.parity.parts``. Version 1 had one norm and
one bound for the whole output; its numbers are kept beside as ``whole``. What no dtype can hold
(float64's -1.8e308 beside float32's -3.4e38) is compared with eager's. A level in which eager
itself is off by more than the cap is unchecked alone, unless the candidate is off by far more than
eager.

Pure: numpy arrays in, a Parity out. R, cap, floor and outlier are rows of ``tolerances.csv``,
calibrated by
``python -m bench.evidence.calibrate``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from paritygate.parity import cuts, parts
from paritygate.parity.elements import FILL, TINY, Array, Bools, Elements, Masks, Seen, Sets, flat
from paritygate.parity.sums import Sums, Tally, summed
from paritygate.parity.tolerance import Tolerance

__all__ = ["FILL", "TINY", "Parity", "Sets", "UndecidableError", "compare", "distances"]

GROSS = 100.0  # times what is allowed: a fault even where eager is too coarse to judge by


@dataclass(frozen=True)
class Parity:
    """The outcome of a comparison; all numbers are of the output that came closest to its limit.

    ``share`` is the largest over all levels and parts of: ratio over R, error over cap, largest
    element over its bound. Above 1 fails. ``error``, ``allowed``, ``eager_error`` and ``ratio`` are
    of the level (elements of like magnitude) that came closest, ``part`` is what decided, where
    that is smaller than a level. ``worst`` is the element farthest off there: input set, output,
    index, and the three values. ``undetermined``: it does not agree, and rounding alone may explain
    every output that does not. ``coarse``: outputs that are wholly unchecked: eager itself is too
    far from the reference there. ``uncompared``: how many elements were not compared, by reason.
    ``whole``: the numbers of the rule's version 1, one norm for the whole output. ``second_look``:
    a part seemed wrong, and was judged again by eager's twins.
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


class UndecidableError(ArithmeticError):
    """A number that decides is not a number: an error of the harness, never a verdict."""


def compare(
    candidate: Sets,
    eager: Sets,
    reference: Sets | None,
    tolerance: Tolerance,
    common: int | None = None,
    jumps: Sequence[float] = (),
    masks: Masks | None = None,
    twins: Sequence[Sets] = (),
) -> Parity:
    """How the candidate's answers compare with the reference, output by output.

    ``common``: the outputs from this one on are parts of one whole (the gradients of a model), and
    the norm of a part counts as at least ``tolerance.least`` of what its size lets expect of the
    whole's.

    ``jumps``: for every output how far rounding moves the reference itself, over the same norm.
    What is off by no more than R times that is no fault, and no agreement either.

    ``twins``: further answers of eager's, off by rounding; a part may be as far off as the worst of
    them is.

    ``masks``: which elements of each output are compared, broadcast over its last axes; None: all.

    ``reference`` None: eager itself is the reference, and the cap alone decides. Integer and
    boolean outputs must be equal. Arrays have their own dtypes for ``candidate`` and ``eager``,
    float64 for ``reference``; bf16, which numpy lacks, comes as float32 on both sides, the names of
    dtypes are compared by the caller.

    Raises ``UndecidableError`` where a number that decides is not a number.
    """
    problem = _different_layout(candidate, eager)
    if problem:
        return Parity(
            False,
            math.inf,
            tolerance.cap,
            math.inf,
            0.0,
            math.inf,
            math.inf,
            math.inf,
            problem,
            {},
            0,
        )
    if not eager[0]:
        return Parity(True, 0.0, tolerance.cap, 0.0, 0.0, 0.0, 0.0, 0.0, "", {}, 0)
    candidate, eager = _real(candidate), _real(eager)
    reference = None if reference is None else _real(reference)
    others = [_real(twin) for twin in twins]
    least = _least_norms(eager if reference is None else reference, common, tolerance.least)
    outcomes = [
        _judge(
            Elements(number, candidate, eager, reference, masks), tolerance, least[number], others
        )
        for number in range(len(eager[0]))
    ]
    return _joined(outcomes, tolerance, jumps)


def _joined(outcomes: Sequence[Parity], tolerance: Tolerance, jumps: Sequence[float]) -> Parity:
    """The outcome of all outputs: that of the one that came closest to its limit."""
    failed = {number for number, outcome in enumerate(outcomes) if not outcome.agrees}
    explained = {
        number
        for number, jump in enumerate(jumps)
        if number in failed
        and math.isfinite(outcomes[number].share)  # not where a NaN is, or an integer differs
        and outcomes[number].whole["error"] <= tolerance.ratio * jump
    }
    undetermined = bool(explained) and failed == explained
    judged = [
        outcome
        for number, outcome in enumerate(outcomes)
        if undetermined or number not in explained
    ]
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


def distances(
    moved: Sets, reference: Sets, tolerance: Tolerance, common: int | None
) -> list[float]:
    """For every output how far ``moved`` is from the reference, over the norm of the whole
    output.
    """
    found = []
    for number, least in enumerate(_least_norms(reference, common, tolerance.least)):
        truth, other = (flat([outputs[number] for outputs in sets]) for sets in (reference, moved))
        found.append(
            float(np.linalg.norm(other - truth)) / max(float(np.linalg.norm(truth)), least)
        )
    return found


def _real(sets: Sets) -> list[list[Array]]:
    """Complex arrays with a last axis for real and imaginary part, all others as they are."""
    return [
        [np.stack([a.real, a.imag], -1) if a.dtype.kind == "c" else a for a in outputs]
        for outputs in sets
    ]


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
        gradients = [
            flat([outputs[number] for outputs in truth]) for number in range(common, len(truth[0]))
        ]
        square = sum(float(np.square(part[np.isfinite(part)]).sum()) for part in gradients)
        each = share * math.sqrt(square / max(1, sum(part.size for part in gradients)))
        least[common:] = [max(TINY, each * math.sqrt(part.size)) for part in gradients]
    return least


def _judge(elements: Elements, tolerance: Tolerance, least: float, twins: Sequence[Sets]) -> Parity:
    """The outcome for one output alone."""
    # of which no part is judged by itself
    seen, alike = (
        Seen(),
        elements.exact or elements.of_eager,
    )
    pieces: Iterable[cuts.Judged] = elements.pieces(seen)
    if elements.eager_is_truth:
        pieces = [_as_allowed(elements, tolerance, seen)]
    grid = cuts.Grid(()) if alike else elements.grid
    tally = summed(pieces, grid, elements.total, small=tolerance.ratio * tolerance.floor)
    sums = list(tally.cuts())
    _, whole = sums[0]
    found = parts.levels(whole, tally.lowest, tolerance, least) if seen.compared else []
    coarse = [
        one for one in found if one.coarse and not one.part.share > GROSS and not elements.exact
    ]
    sure = [one.part for one in found if one not in coarse]
    part = None
    if tolerance.parts and seen.compared and not alike:
        part = _part(elements, sums, tally, coarse, tolerance, twins)
    told = (*sure, *(one.part for one in coarse), part)
    if any(
        math.isnan(one.share) or not math.isfinite(one.allowed) for one in told if one is not None
    ):
        raise UndecidableError(
            f"output {elements.number}: how close it comes to its limit is not a number"
        )
    decided = max(sure, key=lambda one: one.share, default=None)
    if part is not None and (decided is None or part.share > max(1.0, decided.share)):
        decided = part
    share = max((one.share for one in (*sure, part) if one is not None), default=0.0)
    problem, wrong = _problem(elements, seen, share, decided)
    shown = max(sure or [one.part for one in coarse], key=lambda one: one.share, default=None)
    own_error = shown.own_error if shown and not elements.eager_is_truth else 0.0
    unsure = sum(_within(one, whole, seen) for one in coarse)
    count = seen.asked if elements.exact else seen.compared - unsure
    return Parity(
        agrees=not problem,
        error=shown.error if shown else 0.0,
        allowed=shown.allowed if shown else tolerance.cap,
        share=math.inf if wrong is not None else share,
        eager_error=own_error,
        ratio=shown.error / max(own_error, tolerance.floor) if shown else 0.0,
        max_abs=seen.largest,
        max_rel=seen.relative,
        problem=problem,
        worst=_worst(elements, wrong, decided) if problem else {},
        compared=count,
        part=asdict(decided) if decided is not None and decided is part else {},
        coarse=(elements.number,) if coarse and not count else (),
        uncompared=_uncompared(elements, seen, unsure),
        whole=_version_1(elements, seen, whole, tolerance, least),
    )


def _as_allowed(elements: Elements, tolerance: Tolerance, seen: Seen) -> cuts.Judged:
    """All elements, where eager is the reference: as if it were off by what the cap allows.

    That is a share of each element's size or of the median of those like it.
    """
    judged = elements.judged(seen)
    return judged.noisier(tolerance.cap / tolerance.ratio * parts.typical(judged.size))


def _part(
    elements: Elements,
    sums: Sequence[tuple[cuts.Axis, Sums]],
    tally: Tally,
    coarse: Sequence[parts.Level],
    tolerance: Tolerance,
    twins: Sequence[Sets],
) -> parts.Part | None:
    """The part that comes closest to its limit, in levels that can be judged.

    ``twins``: with eager's error as that of the worst of them.
    """
    bands = parts.doubtful(tally.beyond)
    for one in coarse:
        bands[one.bands] = False
    if not twins:
        part = parts.first_look(sums, tally.lowest, bands, tolerance)
        if part is None or part.share <= 1:
            return part
    judged = (
        _as_allowed(elements, tolerance, Seen())
        if elements.eager_is_truth
        else elements.judged(Seen())
    )
    own = judged.own
    for twin in twins:
        own = np.maximum(own, elements.off_by(twin, judged.at))
    band, _ = judged.bands
    return parts.worst((judged.noisier(own) if twins else judged).only(bands[band]), tolerance)


def _within(level: parts.Level, whole: Sums, seen: Seen) -> int:
    """How many elements a level has; zeros are of the lowest."""
    zeros = seen.compared - int(whole.number.sum())
    return int(whole.number[0, level.bands].sum()) + (zeros if not level.bands.start else 0)


def _uncompared(elements: Elements, seen: Seen, coarse: int) -> dict[str, int]:
    """How many elements nothing was computed of, by reason; those without a count are left out."""
    counts = {
        "masked": elements.total - seen.asked,
        "not finite in eager": seen.asked - seen.finite if not elements.exact else 0,
        "saturated": seen.saturated,
        "too coarse in eager": coarse,
    }
    return {reason: count for reason, count in counts.items() if count}


def _version_1(
    elements: Elements, seen: Seen, whole: Sums, tolerance: Tolerance, least: float
) -> dict[str, float]:
    """Version 1 of the rule: one norm and one bound for all. Kept until the table is calibrated for
    the new one.
    """
    off, size = (float(values.sum()) for values in (whole.off, whole.size))
    own, most_own = (
        (0.0, 0.0)
        if elements.eager_is_truth
        else (float(whole.own.sum()), float(whole.most_own.max()))
    )
    norm = max(math.sqrt(size), least, elements.smallest)
    error, own_error = math.sqrt(off) / norm, math.sqrt(own) / norm
    allowed = min(tolerance.ratio * max(own_error, tolerance.floor), tolerance.cap)
    if elements.eager_is_truth:
        allowed = tolerance.cap
    scale = norm / math.sqrt(max(seen.finite, 1)) * math.sqrt(2 * math.log(max(seen.finite, 2)))
    expected = (
        allowed * scale if elements.eager_is_truth else max(most_own, tolerance.floor * scale)
    )
    bound = tolerance.outlier * expected
    share = max(
        error / allowed, seen.largest / bound if bound else (math.inf if seen.largest else 0.0)
    )
    return {"error": error, "allowed": allowed, "eager_error": own_error, "share": share}


def _problem(
    elements: Elements, seen: Seen, share: float, decided: parts.Part | None
) -> tuple[str, Bools | None]:
    """What is wrong, or ""; and the elements that are wrong whatever their size."""
    output = f"output {elements.number}"
    if elements.exact:  # judged as integers: float64 rounds the large ones
        unequal = elements.unequal
        count = int(unequal.sum())
        return (
            (f"{output}: {count} of {elements.total} integers differ", unequal)
            if count
            else ("", None)
        )
    if seen.gaps:
        gaps, ours, theirs = elements.gaps()
        if gaps.any():
            return f"{output}: {ours} elements are NaN or infinite, {theirs} in eager", gaps
    if share <= 1 or decided is None:
        return "", None
    against = "eager" if elements.eager_is_truth else "float64"
    where = f" in {decided}" if decided.axis or decided.elements < seen.compared else ""
    text = f"{output}: error {decided.error:.3g} against {against}, allowed {decided.allowed:.3g}"
    if not elements.eager_is_truth:
        text += f" (eager's own error {decided.own_error:.3g})"
    text += where
    if decided.largest > decided.largest_allowed:
        text += f"; one element is {decided.largest:.3g} off, allowed {decided.largest_allowed:.3g}"
    return text, None


def _worst(elements: Elements, wrong: Bools | None, decided: parts.Part | None) -> dict[str, Any]:
    """Where the element is that is farthest off in the part that decided, and its three values."""
    if wrong is not None:
        return elements.at(int(np.argmax(wrong)))
    assert decided is not None
    judged = elements.judged(Seen())
    within = np.where(parts.inside(judged, decided), judged.off, -1.0)
    return elements.at(int(judged.at[np.argmax(within)]))
