"""The sides of a comparison, and the result of a run of the gate."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paritygate.core.case import Cell
from paritygate.core.record import Status
from paritygate.gate import launch_pair
from paritygate.gate.findings import Changes
from paritygate.gate.source_links import Slots
from paritygate.gate.verdict import Decided
from paritygate.session.laboratory import Laboratory
from paritygate.session.opened import OpenedCell


class InvalidRunError(Exception):
    """The run cannot give verdicts. The message says why."""


@dataclass
class Side:
    """The code under test in one revision: the project's folder in it, its laboratory, its cells by
    id. ``checkouts``: the whole trees that it uses, of which the project may be a part.
    """

    tree: Path
    laboratory: Laboratory
    checkouts: Sequence[Path] = ()
    slot: Path = Path()
    cells: dict[str, OpenedCell] = field(default_factory=dict)


@dataclass
class Sides:
    """Base and head. If there are control cells, also the twin, a second copy of base.

    Each side imports through a slot, which is drawn anew for every launch.
    """

    base: Side
    head: Side
    twin: Side | None
    slots: Slots
    rng: random.Random

    @property
    def all(self) -> list[Side]:
        """All sides."""
        return [self.base, self.head, *([self.twin] if self.twin else [])]

    def start(self, launch: int, cells: Iterable[Cell], sides: Sequence[Side]) -> None:
        """Start the fork servers of a launch that holds these cells. They begin their imports at
        once.
        """
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
            whole = [str(checkout.resolve()) for checkout in side.checkouts]
            side.laboratory.watched = [*self.slots.watched(slot), *whole]
            side.laboratory.places = self.slots.stands_for(slot)

    def close(self) -> None:
        """End every process."""
        for side in self.all:
            for cell in side.cells.values():
                cell.close()
            side.laboratory.close()


@dataclass
class Broken:
    """Why a cell got no verdict from measuring: the side, the status and the reason."""

    side: str  # "base", "head", or "" where the two cannot be compared
    status: Status
    reason: str


@dataclass
class Result:
    """The result of a run of the gate."""

    decided: dict[str, Decided] = field(default_factory=dict)
    # cell -> D of the launch pairs that its verdict is based on
    d: dict[str, list[float]] = field(default_factory=dict)
    broken: dict[str, Broken] = field(default_factory=dict)
    # cell -> what is certain of its two sides
    certain: dict[str, Changes] = field(default_factory=dict)
    # cell -> (base, head) of each launch, peak memory in bytes
    peaks: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    # cell -> (base, head) of each launch, seconds to prepare with warm caches
    prepared: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    controls: dict[str, Decided] = field(default_factory=dict)
    invalid: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    # for each launch: (cell, its measurements)
    launches: list[list[tuple[str, launch_pair.Measured]]] = field(default_factory=list)
    replaced: int = 0  # launch pairs that were measured twice, because the machine was disturbed
    seconds: dict[str, float] = field(default_factory=dict)  # part of the run -> its seconds
    # cell -> its seconds, with its share of the costs that cells share
    cost: dict[str, float] = field(default_factory=dict)
