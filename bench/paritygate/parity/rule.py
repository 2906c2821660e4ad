"""The parity rule, version 2: the candidate's error against float64, measured in units of eager's
own error.

    e(x)   = ||x - reference||2 / ||reference||2       over all checked input sets at once
    ratio  = e(candidate) / max(e(eager), floor)

    agree  = same shapes and dtypes, NaN and infinities where eager has them
             and for every level (elements of like magnitude) of every output: ratio <= R and e(candidate) <= cap
             and for every part (a band of magnitudes, of the whole or of one slice): ratio <= R
             and for every level and part: max|candidate - reference| <= outlier bound

R grows where a part has few elements, see ``paritygate.parity.parts``. Version 1 had one norm and
one bound for the whole output; its numbers are kept as ``whole``. A reference that no dtype can
hold (float64's -1.8e308 beside float32's -3.4e38) is replaced by eager's number. A level in which
eager itself is off by more than the cap is unchecked, unless the candidate is off by far more than
eager.

Pure: numpy arrays in, a Parity out. R, cap, floor and outlier are rows of ``tolerances.csv``,
calibrated by ``python -m bench.evidence.calibrate``.
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

GROSS = 100.0  # so many times its limit is a fault even where eager itself is too coarse


@dataclass(frozen=True)
class Parity:
    """The outcome of a comparison. All numbers belong to the output that is closest to its limit.

    - ``share``: the largest over all levels and parts of ratio over R, error over cap, largest
      element over its bound. Above 1 fails.
    - ``error``, ``allowed``, ``eager_error``, ``ratio``: of the level (elements of like magnitude)
      that is closest to its limit.
    - ``part``: the part that decided, where that is smaller than a level.
    - ``worst``: the element that is farthest off there: input set, output, index, and the three
      values.
    - ``undetermined``: the answers do not agree, but rounding alone may explain every output that
      does not.
    - ``coarse``: outputs that are wholly unchecked, because eager itself is too far from the
      reference there.
    - ``uncompared``: how many elements were not compared, by reason.
    - ``whole``: the numbers of the rule's version 1, one norm for the whole output.
    - ``second_look``: a part seemed wrong, and was judged again with perturbed runs of eager.
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
        """Return plain data for the record."""
        return asdict(self)

    @property
    def nothing(self) -> bool:
        """Whether the answer agrees only because no element could be compared."""
        return self.agrees and not self.compared

    def explain(self) -> str:
        """Return in one or two sentences what was compared, how far apart it is, how far is
        allowed, and where.
        """
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
    """A number that decides is NaN. This is an error of the harness, never a verdict."""


def compare(
    candidate: Sets,
    eager: Sets,
    reference: Sets | None,
    tolerance: Tolerance,
    gradient_start: int | None = None,
    gradient_ties: Sequence[float] = (),
    masks: Masks | None = None,
    perturbed: Sequence[Sets] = (),
) -> Parity:
    """Compare the candidate's answers with the reference, output by output, and return the outcome.

    - ``candidate``, ``eager``, ``reference``: for each input set the output arrays. Candidate and
      eager have their own dtypes, the reference is float64. bf16, which numpy lacks, comes as
      float32 on both sides; the caller compares the names of dtypes. Integer and boolean outputs
      must be equal.
    - ``reference`` None: eager itself is the reference, and the cap alone decides.
    - ``gradient_start``: the outputs from this one on are the gradients of one model. The norm of
      each counts as at least ``tolerance.least`` of the norm that its size lets expect, as part of
      all gradients.
    - ``gradient_ties``: for each output the distance by which rounding moves the reference itself,
      over the same norm. An output that is off by at most R times that is neither a fault nor an
      agreement.
    - ``masks``: the elements of each output to compare, broadcast over its last axes; None: all.
    - ``perturbed``: further answers of eager, with weights and inputs moved by a rounding. A part
      may be as far off as the worst of them.

    Raises ``UndecidableError`` where a number that decides is NaN.
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
    others = [_real(one) for one in perturbed]
    floors = _norm_floors(
        eager if reference is None else reference, gradient_start, tolerance.least
    )
    outcomes = [
        _judge(
            Elements(number, candidate, eager, reference, masks), tolerance, floors[number], others
        )
        for number in range(len(eager[0]))
    ]
    return _joined(outcomes, tolerance, gradient_ties)


def _joined(
    outcomes: Sequence[Parity], tolerance: Tolerance, gradient_ties: Sequence[float]
) -> Parity:
    """Return the outcome of all outputs: that of the output closest to its limit."""
    failed = {number for number, outcome in enumerate(outcomes) if not outcome.agrees}
    explained = {
        number
        for number, tie in enumerate(gradient_ties)
        if number in failed
        and math.isfinite(outcomes[number].share)  # not where a NaN is, or an integer differs
        and outcomes[number].whole["error"] <= tolerance.ratio * tie
    }
    undetermined = bool(explained) and failed == explained
    judged = [
        outcome
        for number, outcome in enumerate(outcomes)
        if undetermined or number not in explained
    ]
    closest = max(
        judged, key=lambda outcome: (not outcome.agrees, not outcome.coarse, outcome.share)
    )
    uncompared: dict[str, int] = {}
    for outcome in outcomes:
        for reason, count in outcome.uncompared.items():
            uncompared[reason] = uncompared.get(reason, 0) + count
    return replace(
        closest,
        undetermined=undetermined,
        coarse=tuple(number for outcome in outcomes for number in outcome.coarse),
        compared=sum(outcome.compared for outcome in outcomes),
        uncompared=uncompared,
    )


def distances(
    moved: Sets, reference: Sets, tolerance: Tolerance, gradient_start: int | None
) -> list[float]:
    """Return for every output how far ``moved`` is from the reference, over the norm of the whole
    output.
    """
    by_output = []
    for number, norm_floor in enumerate(_norm_floors(reference, gradient_start, tolerance.least)):
        truth, other = (flat([outputs[number] for outputs in sets]) for sets in (reference, moved))
        by_output.append(
            float(np.linalg.norm(other - truth)) / max(float(np.linalg.norm(truth)), norm_floor)
        )
    return by_output


def _real(sets: Sets) -> list[list[Array]]:
    """Return the arrays; complex ones as real ones with a last axis for real and imaginary part."""
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


def _norm_floors(truth: Sets, gradient_start: int | None, share: float) -> list[float]:
    """Return for every output the smallest norm that it counts as having."""
    floors = [TINY] * len(truth[0])
    if gradient_start is not None:
        gradients = [
            flat([outputs[number] for outputs in truth])
            for number in range(gradient_start, len(truth[0]))
        ]
        square = sum(float(np.square(part[np.isfinite(part)]).sum()) for part in gradients)
        each = share * math.sqrt(square / max(1, sum(part.size for part in gradients)))
        floors[gradient_start:] = [max(TINY, each * math.sqrt(part.size)) for part in gradients]
    return floors


def _judge(
    elements: Elements, tolerance: Tolerance, norm_floor: float, perturbed: Sequence[Sets]
) -> Parity:
    """Return the outcome for one output."""
    seen, alike = Seen(), elements.exact or elements.of_eager  # alike: no part is judged alone
    pieces: Iterable[cuts.Judged] = elements.pieces(seen)
    if elements.eager_is_truth:
        pieces = [_as_allowed(elements, tolerance, seen)]
    grid = cuts.Grid(()) if alike else elements.grid
    tally = summed(pieces, grid, elements.total, small=tolerance.ratio * tolerance.floor)
    sums = list(tally.cuts())
    _, whole = sums[0]
    levels = parts.levels(whole, tally.lowest, tolerance, norm_floor) if seen.compared else []
    coarse = [
        one for one in levels if one.coarse and not one.part.share > GROSS and not elements.exact
    ]
    sure = [one.part for one in levels if one not in coarse]
    part = None
    if tolerance.parts and seen.compared and not alike:
        part = _part(elements, sums, tally, coarse, tolerance, perturbed)
    judged = (*sure, *(one.part for one in coarse), part)
    if any(
        math.isnan(one.share) or not math.isfinite(one.allowed) for one in judged if one is not None
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
        whole=_version_1(elements, seen, whole, tolerance, norm_floor),
    )


def _as_allowed(elements: Elements, tolerance: Tolerance, seen: Seen) -> cuts.Judged:
    """Return all elements, where eager is the reference, with the cap as eager's error.

    The error is a share of each element's size, or of the median size of its level.
    """
    judged = elements.judged(seen)
    return judged.noisier(tolerance.cap / tolerance.ratio * parts.typical(judged.size))


def _part(
    elements: Elements,
    sums: Sequence[tuple[cuts.Axis, Sums]],
    tally: Tally,
    coarse: Sequence[parts.Level],
    tolerance: Tolerance,
    perturbed: Sequence[Sets],
) -> parts.Part | None:
    """Return the part that is closest to its limit, in the levels that can be judged.

    ``perturbed``: further answers of eager. Eager's error is then the largest of all its answers.
    """
    bands = parts.doubtful(tally.beyond)
    for one in coarse:
        bands[one.bands] = False
    if not perturbed:
        part = parts.first_look(sums, tally.lowest, bands, tolerance)
        if part is None or part.share <= 1:
            return part
    judged = (
        _as_allowed(elements, tolerance, Seen())
        if elements.eager_is_truth
        else elements.judged(Seen())
    )
    own = judged.own
    for answers in perturbed:
        own = np.maximum(own, elements.off_by(answers, judged.at))
    band, _ = judged.bands
    return parts.worst((judged.noisier(own) if perturbed else judged).only(bands[band]), tolerance)


def _within(level: parts.Level, whole: Sums, seen: Seen) -> int:
    """Return the number of elements in a level. Zeros belong to the lowest level."""
    zeros = seen.compared - int(whole.number.sum())
    return int(whole.number[0, level.bands].sum()) + (zeros if not level.bands.start else 0)


def _uncompared(elements: Elements, seen: Seen, coarse: int) -> dict[str, int]:
    """Return the number of elements that were not compared, by reason. Reasons without elements are
    left out.
    """
    counts = {
        "masked": elements.total - seen.asked,
        "not finite in eager": seen.asked - seen.finite if not elements.exact else 0,
        "saturated": seen.saturated,
        "too coarse in eager": coarse,
    }
    return {reason: count for reason, count in counts.items() if count}


def _version_1(
    elements: Elements, seen: Seen, whole: Sums, tolerance: Tolerance, norm_floor: float
) -> dict[str, float]:
    """Return the numbers of the rule's version 1: one norm and one bound for the whole output. Kept
    until the table is calibrated for version 2.
    """
    off, size = (float(values.sum()) for values in (whole.off, whole.size))
    own, most_own = (
        (0.0, 0.0)
        if elements.eager_is_truth
        else (float(whole.own.sum()), float(whole.most_own.max()))
    )
    norm = max(math.sqrt(size), norm_floor, elements.smallest)
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
    """Return what is wrong, or "", and a mask of the elements that are wrong whatever their size,
    or None.
    """
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
    """Return the element that is farthest off in the part that decided: its place, and its three
    values.
    """
    if wrong is not None:
        return elements.at(int(np.argmax(wrong)))
    assert decided is not None
    judged = elements.judged(Seen())
    within = np.where(parts.inside(judged, decided), judged.off, -1.0)
    return elements.at(int(judged.at[np.argmax(within)]))
