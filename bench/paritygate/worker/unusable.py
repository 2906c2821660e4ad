"""Unusable: why the answers of a group's reference worker can judge no other answer, in words."""

from __future__ import annotations

import math

import numpy as np
import torch

from paritygate.core.reasons import listed
from paritygate.parity import rule
from paritygate.runtime.subject import BoundCase
from paritygate.worker import check
from paritygate.worker.first_look import Look


def self_error(
    eager: list[list[torch.Tensor]], again: list[list[torch.Tensor]]
) -> tuple[float, str]:
    """Return the distance between eager's two answers, relative to the norm of the first, and where
    it is largest.
    """
    worst = (0.0, "")
    for number, (one, two) in enumerate(zip(eager, again, strict=False)):
        for output, (a, b) in enumerate(zip(one, two, strict=True)):
            place = f"input set {number}, output {output}"
            if a.shape != b.shape:
                return math.inf, place
            finite = torch.nan_to_num(a), torch.nan_to_num(b)
            if not torch.equal(*finite):
                ours, theirs = (t.double() for t in finite)
                worst = max(
                    worst,
                    ((ours - theirs).norm().item() / max(ours.norm().item(), rule.TINY), place),
                )
    return worst


def disagrees_with_itself(off: tuple[float, str], slack: float, seen: Look) -> str:
    """Return why eager's two answers differ, or "". Such a model cannot agree with any other
    answer.
    """
    if off[0] <= slack:
        return ""
    why = "no visible state has changed in between"
    if seen.drew:
        why = (
            f"forward draws random numbers ({seen.drew} generator has moved): is dropout left on, or a random operator "
            "used? Pass random numbers as inputs, or switch them off in eval()"
        )
    elif seen.changed:
        why = f"the model keeps state ({listed(seen.changed)}), and restoring it does not help"
    return f"eager does not agree with itself: {off[1]} differs by {off[0]:.3g} of its size between two calls; {why}"


def nothing(eager: list[list[torch.Tensor]]) -> str:
    """Return why there is nothing to compare, or ""."""
    if any(output.numel() for outputs in eager for output in outputs):
        return ""
    shapes = ", ".join(str(tuple(output.shape)) for output in eager[0])
    return f"nothing to compare: the outputs hold no element (shapes {shapes})"


def not_finite(
    subject: BoundCase, answers: check.Sets, name: str, eager: check.Sets | None = None
) -> str:
    """Return why answers cannot be a reference, or "": NaN or infinities that the case does not
    declare.

    ``eager``: eager's answers to the same inputs. An infinity is allowed where eager's number is
    over ``rule.FILL`` of the largest of its dtype. That is a fill, and a fill with the lowest
    number of float64 may overflow.
    """
    if subject.case.nonfinite:
        return ""
    for number, outputs in enumerate(answers):
        for output, array in enumerate(outputs):
            if array.dtype.kind not in "fc":
                continue
            bad = ~np.isfinite(array)
            if eager is not None:
                base = eager[number][output]
                bad &= ~(np.isinf(array) & (np.abs(base) > rule.FILL * np.finfo(base.dtype).max))
            if bad.any():
                return (
                    f"reference not finite: {int(bad.sum())} of {bad.size} elements of output {output} are NaN or "
                    f"infinite in {name} (input set {number}); if that is right, declare Case(nonfinite=True)"
                )
    return ""


def too_coarse(subject: BoundCase, eager: check.Sets, seen: Look) -> str:
    """Return why eager itself would fail the check, or "". If it fails, nothing can be said about
    others.
    """
    outcome = check.compare(subject, eager)
    subject.scratch.save(check.OF_EAGER, outcome)
    if outcome.agrees and not outcome.nothing:
        return ""
    if outcome.agrees and not outcome.coarse:
        return f"nothing to compare: {outcome.uncompared or 'no element'} of every output"
    why = f"; forward draws random numbers ({seen.drew} generator has moved), which are others in float64"
    return f"eager itself is too far from float64: {outcome.explain()}{why if seen.drew else ''}"
