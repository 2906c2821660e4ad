"""The request to the gate: the revision to compare with, and the margins. Plain values, read with
the options.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from paritygate.gate.build_command import BuildCommand


@dataclass(frozen=True)
class Margins:
    """Shares: the tolerated slowdown and the one that must be caught; the same for the seconds to
    prepare; the tolerated growth of peak memory. ``alpha``: the chance of a false red in a whole run.
    Times have this chance, and the seconds to prepare have it again.
    """

    tolerated: float = 0.01
    caught: float = 0.03
    alpha: float = 0.01
    memory: float = 0.05
    prepare: float = 0.10
    prepare_caught: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.tolerated < self.caught < 1 or not 0 < self.alpha < 1:
            raise ValueError(
                f"margins must satisfy 0 < tolerated < caught < 1 and 0 < alpha < 1, not {self}"
            )

    @property
    def low(self) -> float:
        """ln(1 + tolerated)."""
        return math.log1p(self.tolerated)

    @property
    def high(self) -> float:
        """ln(1 + caught)."""
        return math.log1p(self.caught)


PROFILES = {
    "normal": Margins(),
    "strict": Margins(0.005, 0.02, memory=0.03, prepare=0.05, prepare_caught=0.15),
    "noisy": Margins(0.02, 0.05, memory=0.10, prepare=0.20, prepare_caught=0.50),
}


@dataclass(frozen=True)
class GateRequest:
    """The request to compare with another revision. With ``python``: the same code under another
    interpreter.
    """

    revision: str
    python: str | None
    profile: str
    sources: list[str]  # paths relative to the project's root: the code under test
    # cells that head has removed -> the reason
    removed: dict[str, str] = field(default_factory=dict)
    # seconds after which no further launch begins; None: the limit of the budget
    limit: float | None = None
    everything: bool = False  # measure cells of identical code and data, too
    # cell -> share by which head is made slower on purpose
    planted: dict[str, float] = field(default_factory=dict)
    build: BuildCommand | None = None  # run in each side's tree before anything is imported

    @property
    def name(self) -> str:
        """The name of base in messages and reports."""
        return self.revision if self.python is None else self.python
