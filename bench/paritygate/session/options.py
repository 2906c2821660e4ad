"""Options: the checked options of a session, without pytest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paritygate.backends import Backend
from paritygate.core.budgets import Budget
from paritygate.core.case import Target


@dataclass(frozen=True)
class Options:
    """The options of one run."""

    targets: Sequence[Target]
    budget: Budget
    controlled: bool  # --bench-lab on
    seed: int  # of weights and inputs
    memory: int | None  # bytes a worker may allocate; None: 90 % of what is free
    backends: Mapping[str, Backend]
    mutate: bool = False  # measure which weights the check would notice
