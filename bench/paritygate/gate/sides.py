"""The sides of a comparison, and what a run of the gate says of them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paritygate.core.case import Cell
from paritygate.core.record import Status
from paritygate.gate import launch_pair
from paritygate.gate.source_links import Slots
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
class Sides:
    """Base and head, and the twin of base where there are control cells; each imports through a
    slot that is drawn anew for every launch.
    """

    base: Side
    head: Side
    twin: Side | None
    slots: Slots
    rng: random.Random

    @property
    def all(self) -> list[Side]:
        """All there are."""
        return [self.base, self.head, *([self.twin] if self.twin else [])]

    def start(self, launch: int, cells: Iterable[Cell], sides: Sequence[Side]) -> None:
        """Exec the fork servers of a launch that holds these cells; they import at once."""
        self.fill_slots(cells)
        seed = self.rng.randrange(10**9, 2**32)
        for side in self.rng.sample(sides, len(sides)):
            side.laboratory.hash_seed = seed
            side.laboratory.server(launch)

    def fill_slots(self, cells: Iterable[Cell]) -> None:
        """Draw the slots of a launch that holds these cells."""
        sides, cells = self.all, list(dict.fromkeys(cells))
        order = self.rng.sample(range(len(sides)), len(sides))
        slots = self.slots.fill(order, [side.tree for side in sides])
        for side, slot in zip(sides, slots, strict=True):
            side.slot, side.laboratory.cells = slot, lambda: cells
            side.laboratory.path = self.slots.path(slot)
            side.laboratory.places = self.slots.stands_for(slot)

    def close(self) -> None:
        """End every process."""
        for side in self.all:
            for cell in side.cells.values():
                cell.close()
            side.laboratory.close()


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
