"""Margins and their profiles: what slowdown the gate tolerates and what it must catch. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Margins:
    """What is tolerated, what must be caught (slowdowns as shares), and the chance of a false red in a whole run."""

    tolerated: float = 0.01
    caught: float = 0.03
    alpha: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.tolerated < self.caught < 1 or not 0 < self.alpha < 1:
            raise ValueError(f"margins must satisfy 0 < tolerated < caught < 1 and 0 < alpha < 1, not {self}")

    @property
    def low(self) -> float:
        """ln(1 + tolerated)."""
        return math.log1p(self.tolerated)

    @property
    def high(self) -> float:
        """ln(1 + caught)."""
        return math.log1p(self.caught)


PROFILES = {"normal": Margins(), "strict": Margins(0.005, 0.02), "noisy": Margins(0.02, 0.05)}
