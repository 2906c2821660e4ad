"""The sides of a comparison, and what a run of the gate says of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from paritygate.core.record import Status
from paritygate.gate import launch_pair
from paritygate.gate.verdict import Decided
from paritygate.session.laboratory import Laboratory
from paritygate.session.opened import OpenedCell


class InvalidRunError(Exception):
    """The run cannot give verdicts; the message says why."""


@dataclass
class Side:
    """The code under test in one revision: where it lies, its laboratory, and its cells by
    their ids.
    """

    name: str
    tree: Path
    laboratory: Laboratory
    slot: Path = Path()
    cells: dict[str, OpenedCell] = field(default_factory=dict)


@dataclass
class Broken:
    """Why a cell got no verdict from measuring: which side, what status, what reason."""

    side: str  # "base", "head", or "" where the two cannot be compared
    status: Status
    reason: str


@dataclass
class Result:
    """What a run of the gate found."""

    decided: dict[str, Decided] = field(default_factory=dict)
    # the launch pairs that each verdict stands on
    d: dict[str, list[float]] = field(default_factory=dict)
    broken: dict[str, Broken] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)
    controls: dict[str, Decided] = field(default_factory=dict)
    invalid: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    # by launch: cell, its blocks
    launches: list[list[tuple[str, launch_pair.Measured]]] = field(default_factory=list)
    replaced: int = 0  # launch pairs that were measured twice, because the machine was disturbed
    seconds: dict[str, float] = field(default_factory=dict)  # what the time went to
    # seconds of each cell, its share of what cells share included
    cost: dict[str, float] = field(default_factory=dict)
