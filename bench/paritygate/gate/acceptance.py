"""Accepted slowdowns, each with a reason: by ``Case(tolerated=...)`` or by a trailer of a commit.

Bench-Accept: bert_*-cpu-eager-* <= 10 % masked softmax is needed for correctness
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import ArrayLike

from paritygate.core.case import Cell
from paritygate.core.record import Verdict
from paritygate.gate import verdict
from paritygate.gate.request import Margins
from paritygate.gate.verdict import Decided

TRAILER = re.compile(r"(?P<pattern>\S+)\s*<=\s*(?P<percent>\d+(\.\d+)?)\s*%\s+(?P<reason>\S.*)")


@dataclass(frozen=True)
class Accepted:
    """A slowdown of up to ``share`` is accepted for cells whose id matches the glob ``pattern``."""

    pattern: str
    share: float
    reason: str


def parse(trailers: Iterable[str]) -> tuple[list[Accepted], list[str]]:
    """Return (what the trailers accept, a message for each trailer that cannot be read)."""
    found, problems = [], []
    for text in trailers:
        if match := TRAILER.fullmatch(text.strip()):
            found.append(Accepted(match["pattern"], float(match["percent"]) / 100, match["reason"]))
        else:
            problems.append(f"Bench-Accept: {text!r} is not read; write `PATTERN <= 10 % reason`")
    return found, problems


def of(cell: Cell, accepted: Sequence[Accepted]) -> Accepted | None:
    """Return the largest accepted slowdown of a cell, with that of its own case, or None."""
    own = (
        []
        if cell.case.tolerated is None
        else [Accepted(cell.id, cell.case.tolerated, "Case(tolerated)")]
    )
    return max(
        [*own, *(one for one in accepted if fnmatchcase(cell.id, one.pattern))],
        key=lambda one: one.share,
        default=None,
    )


def judge(decided: Decided, d: ArrayLike, accepted: Accepted | None, margins: Margins) -> Decided:
    """Return the verdict after acceptance: *same*, unless the slowdown is surely larger than
    accepted.
    """
    if accepted is None or decided.verdict is not Verdict.REGRESSED:
        return decided
    # a gross change was asked for beyond what is accepted
    if decided.gross or verdict.p_slower(d, float(np.log1p(accepted.share))) <= margins.alpha:
        return replace(
            decided, reason=f"{decided.reason}, and by more than the accepted {accepted.share:.0%}"
        )
    reason = f"accepted up to {accepted.share:.0%}: {accepted.reason}"
    return replace(decided, verdict=Verdict.SAME, reason=reason)
