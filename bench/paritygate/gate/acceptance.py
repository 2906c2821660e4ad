"""Accepted slowdowns and changes of answers, each with a reason: by a trailer of a commit, or a
slowdown by ``Case(tolerated=...)``.

Bench-Accept: bert_*-cpu-eager-* <= 10 % masked softmax is needed for correctness
Bench-Accept: bert_*-cpu-eager-* answers the mask was ignored before
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

SLOWER = re.compile(r"(?P<pattern>\S+)\s*<=\s*(?P<percent>\d+(\.\d+)?)\s*%\s+(?P<reason>\S.*)")
ANSWERS = re.compile(r"(?P<pattern>\S+)\s+answers\s+(?P<reason>\S.*)")


@dataclass(frozen=True)
class Accepted:
    """A slowdown of up to ``share`` is accepted for cells whose id matches the glob ``pattern``."""

    pattern: str
    share: float
    reason: str


@dataclass(frozen=True)
class OtherAnswers:
    """Other answers are accepted for cells whose id matches the glob ``pattern``."""

    pattern: str
    reason: str


def parse(trailers: Iterable[str]) -> tuple[list[Accepted], list[OtherAnswers], list[str]]:
    """Return (the slowdowns and the answers that the trailers accept, a message for each trailer
    that cannot be read).
    """
    slowdowns, answers, problems = [], [], []
    for text in trailers:
        if match := SLOWER.fullmatch(text.strip()):
            share = float(match["percent"]) / 100
            slowdowns.append(Accepted(match["pattern"], share, match["reason"]))
        elif match := ANSWERS.fullmatch(text.strip()):
            answers.append(OtherAnswers(match["pattern"], match["reason"]))
        else:
            problems.append(
                f"Bench-Accept: {text!r} is not read; write `PATTERN <= 10 % reason` or `PATTERN answers reason`"
            )
    return slowdowns, answers, problems


def answers_of(cell: Cell, accepted: Sequence[OtherAnswers]) -> str:
    """Return the reason for which other answers of a cell are accepted, or ""."""
    return next((one.reason for one in accepted if fnmatchcase(cell.id, one.pattern)), "")


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
