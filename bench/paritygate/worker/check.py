"""Check: compare a cell's answers with what the reference worker left in its group's folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paritygate.backends.contract import BackendError
from paritygate.core.record import Status
from paritygate.parity import rule
from paritygate.runtime.subject import BoundCase
from paritygate.worker import masks, second_look

Answer = list[NDArray[Any]]  # the outputs of one call
Sets = list[Answer]  # for each input set
EVERY = slice(None)
OF_EAGER = "parity-of-eager"


def compare(
    subject: BoundCase,
    answers: Sets,
    which: slice = EVERY,
    twins: list[rule.Sets] | None = None,
    parts: bool = True,
) -> rule.Parity:
    """Compare answers to some of the checked input sets with the reference.

    ``parts``: also compare each part of an output, not only the whole. If the bits are the same as
    eager's, return the result that the reference worker stored for eager.
    """
    scratch = subject.scratch
    eager = scratch.load_answers("eager")
    assert eager is not None
    every = which == EVERY and not twins and parts and len(answers) == len(eager)
    if every and scratch.has(OF_EAGER) and all(map(identical, answers, eager)):
        kept: rule.Parity = scratch.load(OF_EAGER)
        return kept
    exact = scratch.load_answers("reference")
    return rule.compare(
        answers,
        eager[which],
        None if exact is None else exact[which],
        subject.tolerance if parts else replace(subject.tolerance, parts=0.0),
        subject.gradient_start,
        scratch.load("jumps") if scratch.has("jumps") else (),
        scratch.load("masks")[which] if scratch.has("masks") else None,
        [twin[which] for twin in twins or ()],
    )


def judge(subject: BoundCase, answers: Sets, which: slice = EVERY) -> rule.Parity:
    """Compare a backend's answers with the reference. If a part seems wrong, compare again, see
    ``second_look``.
    """
    outcome = compare(subject, answers, which)
    twice = outcome.part and not outcome.agrees and subject.case.mode == "inference"
    if not twice or subject.case.reference == "eager":
        return outcome
    return replace(compare(subject, answers, which, second_look.twins(subject)), second_look=True)


def verdict(
    subject: BoundCase, outcome: rule.Parity, dtypes: list[str], answers: Sets
) -> tuple[Status, str]:
    """Return the status of a cell with these answers, and the reason if it is not ok. ``dtypes``:
    the names of their torch dtypes.

    Raises ``BackendError`` if there is no reference. No weaker rule takes its place.
    """
    if not subject.scratch.has_answers("reference") and subject.case.reference == "float64":
        raise BackendError("the float64 reference is missing")
    expected = subject.scratch.load("meta")["dtypes"]
    if outcome.undetermined:
        return Status.UNCHECKED, (
            f"a gradient jumps here, with another --bench-seed it may not: rounding alone explains {outcome.explain()}"
        )
    if dtypes != expected and len(dtypes) == len(expected):  # by name: numpy lacks some
        return Status.PARITY_FAILED, f"output dtypes are {dtypes}, eager's are {expected}"
    if not outcome.agrees:
        return Status.PARITY_FAILED, outcome.explain() + _only_padding(subject, outcome, answers)
    if outcome.nothing:
        return Status.UNCHECKED, f"nothing to compare: {outcome.explain()}"
    return Status.OK, ""


def _only_padding(subject: BoundCase, outcome: rule.Parity, answers: Sets) -> str:
    """Return a sentence if all wrong elements lie where an input masks padding, else ""."""
    scratch = subject.scratch
    eager, exact = scratch.load_answers("eager"), scratch.load_answers("reference")
    if not outcome.worst or eager is None:
        return ""
    output = outcome.worst["output"]
    every = [masks.padding(inputs, eager[0][output].shape) for inputs in subject.inputs()]
    for path in set.intersection(*(set(found) for found in every)):
        only = [
            [found[path] if n == output else None for n in range(len(eager[0]))] for found in every
        ]
        if rule.compare(
            answers, eager, exact, subject.tolerance, subject.gradient_start, masks=only
        ).agrees:
            return (
                f". All of it lies at positions that the input {path!r} masks: if nobody reads them, declare "
                f"mask={int(path) if path.isdigit() else path!r}, or which ones count by output_mask="
            )
    return ""


def verify(
    subject: BoundCase, timed: Answer, checked: Answer, number: int, allowed: float, when: str
) -> None:
    """Raise ``BackendError`` if a timed answer to input set ``number`` is wrong.

    It passes if it is identical to the checked answer, or both near it and within the rule.
    """
    if identical(timed, checked):
        return
    unlike = f"wrong answer {when} to input set {number}, unlike the checked one"
    for output, (now, then) in enumerate(zip(timed, checked, strict=True)):
        if now.shape == then.shape and not (far := _distance(now, then)) <= 2 * allowed:
            raise BackendError(
                f"{unlike}: output {output} is {far:.3g} away from it (allowed {2 * allowed:.3g})"
            )
    outcome = judge(subject, [timed], slice(number, number + 1))
    if not (outcome.agrees or outcome.undetermined):
        raise BackendError(f"{unlike}: {outcome.explain()}")


def identical(one: Answer, other: Answer) -> bool:
    """Return whether two answers hold the same numbers in the same dtypes. NaN equals NaN."""
    return len(one) == len(other) and all(
        a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
        for a, b in zip(one, other, strict=True)
    )


def _distance(now: NDArray[Any], then: NDArray[Any]) -> float:
    """Return the distance between two answers, relative to the norm of the second. Equal infinities
    and NaN in both count as no distance.
    """
    same = (
        (now == then) | (np.isnan(now) & np.isnan(then)) if now.dtype.kind in "fc" else now == then
    )
    off = np.linalg.norm(now[~same].astype(np.complex128) - then[~same].astype(np.complex128))
    norm = np.linalg.norm(then[np.isfinite(then)].astype(np.complex128))
    return float(off) / max(float(norm), rule.TINY)
