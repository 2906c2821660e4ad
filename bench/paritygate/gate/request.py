"""What the gate is asked to compare with, as plain values. Imports nothing heavy: options are read at collection."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Against:
    """Another revision, or with ``python`` the same code under another interpreter."""

    revision: str
    python: str | None
    profile: str
    sources: list[str]  # paths relative to the project's root: the code under test
    removed: dict[str, str] = field(default_factory=dict)  # cells that head has given up -> the reason
    limit: float | None = None  # seconds after which no further launch begins; None: what the budget says
    planted: dict[str, float] = field(default_factory=dict)  # cell -> share by which head is made slower on purpose

    @property
    def name(self) -> str:
        """What base is called in front of people."""
        return self.revision if self.python is None else self.python
