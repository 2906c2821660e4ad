"""When do two answers agree? The candidate's error against float64, measured by eager's own error.

    e(x)   = ||x - reference||2 / ||reference||2       per output tensor, over all checked input sets at once
    ratio  = e(candidate) / max(e(eager), floor)

    agree  = same shapes and dtypes, NaN and infinities where eager has them
             and ratio <= R and e(candidate) <= cap
             and max|candidate - reference| <= outlier bound   (a norm hides one broken element in a million)

Pure: numpy arrays in, a Parity out. R, cap, floor and outlier are rows of ``tolerances.csv``, calibrated by
``python -m bench.evidence.calibrate``.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Outputs = Sequence[Array]  # the output tensors of one call
    Sets = Sequence[Outputs]  # the outputs for each input set

TINY = 1e-300
COLUMNS = ("floor", "ratio", "cap", "outlier", "least")  # of the table, as ``Tolerance`` has them


@dataclass(frozen=True)
class Tolerance:
    """A row of the table: how far from float64 an answer may be.

    ``least``: of gradients, the share of what its size lets expect that a part counts as having at least; one that is
    zero but for rounding, as those of a key's bias are in attention, is wholly wrong in eager, too.
    """

    policy: str
    floor: float
    ratio: float
    cap: float
    outlier: float
    least: float = 0.0


@dataclass(frozen=True)
class Parity:
    """The outcome of a comparison; all numbers are of the output that came closest to its limit.

    ``share`` is the largest of: ratio over R, error over cap, largest element over its bound. Above 1 fails.
    ``worst`` is the element farthest off: input set, output, index, and the three values. ``undetermined``: it does not
    agree, and rounding alone may explain every output that does not.
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

    def as_dict(self) -> dict[str, Any]:
        """Plain data for the record."""
        return asdict(self)

    def explain(self) -> str:
        """What was compared, how far apart, how far is allowed, and where: one or two sentences."""
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


@cache
def tolerances() -> dict[str, Tolerance]:
    """The table by policy name."""
    with (Path(__file__).parent / "tolerances.csv").open(newline="") as file:
        return {
            row["policy"]: Tolerance(row["policy"], *(float(row[key] or 0) for key in COLUMNS))
            for row in csv.DictReader(file)
        }


def compare(
    candidate: Sets, eager: Sets, reference: Sets | None, tolerance: Tolerance, common: int | None = None,
    jumps: Sequence[float] = (),
) -> Parity:  # fmt: skip
    """How the candidate's answers compare with the reference, output by output.

    ``common``: the outputs from this one on are parts of one whole (the gradients of a model), and the norm of a part
    counts as at least ``tolerance.least`` of what its size lets expect of the whole's.

    ``jumps``: for every output how far rounding moves the reference itself, over the same norm. What is off by no more
    than R times that is no fault, and no agreement either.

    ``reference`` None: eager itself is the reference, and the cap alone decides. Integer and boolean outputs
    must be equal. Arrays have their own dtypes for ``candidate`` and ``eager``, float64 for ``reference``;
    dtypes that numpy lacks (bf16) come as float64 on both sides, their names are compared by the caller.
    """
    problem = _different_layout(candidate, eager)
    if problem:
        return Parity(False, math.inf, tolerance.cap, math.inf, 0.0, math.inf, math.inf, math.inf, problem, {}, 0)
    candidate, eager = _real(candidate), _real(eager)
    reference = None if reference is None else _real(reference)
    least = _least_norms(eager if reference is None else reference, common, tolerance.least)
    outcomes = [
        _compare_output(
            number,
            [outputs[number] for outputs in candidate],
            [outputs[number] for outputs in eager],
            None if reference is None else [outputs[number] for outputs in reference],
            tolerance,
            least[number],
        )
        for number in range(len(eager[0]))
    ]
    failed = {number for number, outcome in enumerate(outcomes) if not outcome.agrees}
    explained = {
        number
        for number, jump in enumerate(jumps)
        if number in failed and math.isfinite(outcomes[number].share)  # not where a NaN is, or an integer differs
        and outcomes[number].error <= tolerance.ratio * jump
    }  # fmt: skip
    if explained and failed == explained:
        return replace(max(outcomes, key=lambda outcome: outcome.share), undetermined=True)
    return max((o for n, o in enumerate(outcomes) if n not in explained), key=lambda outcome: outcome.share)


def distances(moved: Sets, reference: Sets, tolerance: Tolerance, common: int | None) -> list[float]:
    """For every output how far ``moved`` is from the reference, over the norm that ``compare`` takes."""
    import numpy as np

    found = []
    for number, least in enumerate(_least_norms(reference, common, tolerance.least)):
        truth, other = (_flat([outputs[number] for outputs in sets]) for sets in (reference, moved))
        found.append(float(np.linalg.norm(other - truth)) / max(float(np.linalg.norm(truth)), least))
    return found


def _real(sets: Sets) -> list[list[Array]]:
    """Complex arrays with a last axis for real and imaginary part, all others as they are."""
    import numpy as np

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
    import numpy as np

    least = [TINY] * len(truth[0])
    if common is not None:
        parts = [_flat([outputs[number] for outputs in truth]) for number in range(common, len(truth[0]))]
        square = sum(float(np.square(part[np.isfinite(part)]).sum()) for part in parts)
        each = share * math.sqrt(square / max(1, sum(part.size for part in parts)))
        least[common:] = [max(TINY, each * math.sqrt(part.size)) for part in parts]
    return least


def _compare_output(
    number: int, candidate: list[Array], eager: list[Array], reference: list[Array] | None, tolerance: Tolerance,
    least: float,
) -> Parity:  # fmt: skip
    import numpy as np

    exact = eager[0].dtype.kind in "iub"
    unequal = np.concatenate([(a != b).ravel() for a, b in zip(candidate, eager, strict=True)])
    ours, base = _flat(candidate), _flat(eager)
    truth = base if exact or reference is None else _flat(reference)
    finite = np.isfinite(truth) & np.isfinite(base)
    gaps = unequal & ~(np.isfinite(ours) & np.isfinite(base)) & ~(np.isnan(ours) & np.isnan(base))
    compared = finite & np.isfinite(ours)
    difference = np.where(compared, ours - np.where(finite, truth, 0), 0.0)
    norm = max(float(np.linalg.norm(truth[finite])), least)
    error = float(np.linalg.norm(difference)) / norm
    eager_error = 0.0 if reference is None else float(np.linalg.norm(base[finite] - truth[finite])) / norm
    ratio = error / max(eager_error, tolerance.floor)
    allowed = tolerance.cap if reference is None else min(
        tolerance.ratio * max(eager_error, tolerance.floor), tolerance.cap
    )  # fmt: skip
    max_abs = float(np.abs(difference).max(initial=0.0))
    bound = _outlier_bound(base, truth, finite, allowed, reference is None, tolerance)
    share = max(error / allowed, max_abs / bound if bound else (math.inf if max_abs else 0.0))
    problem, wrong = "", gaps
    if exact and unequal.any():  # judged as integers: float64 rounds the large ones
        wrong, share = unequal, math.inf
        problem = f"output {number}: {int(unequal.sum())} of {ours.size} integers differ"
    elif gaps.any():
        share = math.inf
        problem = (
            f"output {number}: {int((~np.isfinite(ours)).sum())} elements are NaN or infinite, "
            f"{int((~np.isfinite(base)).sum())} in eager"
        )
    elif share > 1:
        against = "eager" if reference is None else "float64"
        problem = f"output {number}: error {error:.3g} against {against}, allowed {allowed:.3g}"
        if reference is not None:
            problem += f" (eager's own error {eager_error:.3g})"
        if max_abs > bound:
            problem += f"; one element is {max_abs:.3g} off, allowed {bound:.3g}"
    worst = {}
    if problem and ours.size:
        place = int(np.argmax(np.where(wrong, math.inf, np.abs(difference))))
        worst = _element(place, number, candidate, ours, truth, base)
    scale = np.maximum(np.abs(truth[compared]), TINY)
    return Parity(
        agrees=not problem,
        error=error,
        allowed=allowed,
        share=share,
        eager_error=eager_error,
        ratio=ratio,
        max_abs=max_abs,
        max_rel=float((np.abs(difference[compared]) / scale).max(initial=0.0)),
        problem=problem,
        worst=worst,
        compared=int(compared.sum()),
    )


def _outlier_bound(
    base: Array, truth: Array, finite: Array, allowed: float, eager_is_truth: bool, tolerance: Tolerance
) -> float:
    """The largest difference that one element may have.

    ``outlier x max(max|eager - reference|, floor x rms(reference) x sqrt(2 ln N))``: the second term is the
    expected maximum of N normal errors of the floor's size.
    """
    import numpy as np

    values = truth[finite]
    if not values.size:
        return 0.0
    rms = float(np.sqrt(np.mean(values**2)))
    spread = math.sqrt(2 * math.log(max(values.size, 2)))
    if eager_is_truth:
        return tolerance.outlier * allowed * rms * spread
    eager_max = float(np.abs(base[finite] - truth[finite]).max(initial=0.0))
    return tolerance.outlier * max(eager_max, tolerance.floor * rms * spread)


def _flat(arrays: list[Array]) -> NDArray[np.float64]:
    import numpy as np

    return np.concatenate([np.asarray(array, dtype=np.float64).ravel() for array in arrays])


def _element(place: int, number: int, sets: list[Array], ours: Array, truth: Array, base: Array) -> dict[str, Any]:
    """Where the element at ``place`` of the concatenation is, and its three values."""
    import numpy as np

    rest = place
    for which, array in enumerate(sets):
        if rest < array.size:
            index = tuple(int(i) for i in np.unravel_index(rest, array.shape))
            return {
                "set": which, "output": number, "index": index,
                "candidate": float(ours[place]), "reference": float(truth[place]), "eager": float(base[place]),
            }  # fmt: skip
        rest -= array.size
    return {}
