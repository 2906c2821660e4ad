"""Accepted slowdowns, growth of memory or of the seconds to prepare, and changes of answers. Each has
a reason: by a trailer of a commit, or a slowdown by ``Case(tolerated=...)``.

Bench-Accept: bert_*-cpu-eager-* <= 10 % masked softmax is needed for correctness
Bench-Accept: bert_*-cpu-eager-* memory <= 20 % the mask is kept

Bench-Accept: bert_*-cpu-eager-* prepare <= 40 % the weights are packed at start
Bench-Accept: bert_*-cpu-eager-* answers the mask was ignored before
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import ArrayLike

from paritygate.core.case import Cell
from paritygate.core.record import Verdict
from paritygate.gate import verdict
from paritygate.gate.request import Margins
from paritygate.gate.verdict import Decided

GROWTH = re.compile(
    r"(?P<pattern>\S+)(\s+(?P<what>memory|prepare))?\s*"
    r"<=\s*(?P<percent>\d+(\.\d+)?)\s*%\s+(?P<reason>\S.*)"
)
ANSWERS = re.compile(r"(?P<pattern>\S+)\s+answers\s+(?P<reason>\S.*)")
FORMS = (
    "`PATTERN <= 10 % reason`, `PATTERN memory <= 10 % reason`, `PATTERN prepare <= 10 % reason` "
    "or `PATTERN answers reason`"
)


@dataclass(frozen=True)
class Accepted:
    """A slowdown, or growth of memory or of the seconds to prepare, of up to ``share`` is accepted for
    cells whose id matches the glob ``pattern``.
    """

    pattern: str
    share: float
    reason: str


@dataclass(frozen=True)
class OtherAnswers:
    """Other answers are accepted for cells whose id matches the glob ``pattern``."""

    pattern: str
    reason: str


@dataclass(frozen=True)
class Trailers:
    """All that the trailers of some commits accept. ``unread``: a message for each that cannot be
    read.
    """

    slowdowns: list[Accepted] = field(default_factory=list)
    memory: list[Accepted] = field(default_factory=list)
    prepare: list[Accepted] = field(default_factory=list)
    answers: list[OtherAnswers] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def parse(trailers: Iterable[str]) -> Trailers:
    """Read the trailers."""
    found = Trailers()
    kinds = {None: found.slowdowns, "memory": found.memory, "prepare": found.prepare}
    for text in map(str.strip, trailers):
        if match := ANSWERS.fullmatch(text):
            found.answers.append(OtherAnswers(match["pattern"], match["reason"]))
            continue
        if match := GROWTH.fullmatch(text):
            one = Accepted(match["pattern"], float(match["percent"]) / 100, match["reason"])
            kinds[match["what"]].append(one)
        else:
            found.unread.append(f"Bench-Accept: {text!r} is not read; write {FORMS}")
    return found


def answers_of(cell: Cell, accepted: Sequence[OtherAnswers]) -> str:
    """Return the reason for which other answers of a cell are accepted, or ""."""
    return next((one.reason for one in accepted if fnmatchcase(cell.id, one.pattern)), "")


def slowdown_of(cell: Cell, accepted: Sequence[Accepted]) -> Accepted | None:
    """Return the largest accepted slowdown of a cell, with that of its own case, or None."""
    own = (
        []
        if cell.case.tolerated is None
        else [Accepted(cell.id, cell.case.tolerated, "Case(tolerated)")]
    )
    return largest(cell, [*own, *accepted])


def largest(cell: Cell, accepted: Sequence[Accepted]) -> Accepted | None:
    """Return the largest of those that fit a cell, or None."""
    fitting = (one for one in accepted if fnmatchcase(cell.id, one.pattern))
    return max(fitting, key=lambda one: one.share, default=None)


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
