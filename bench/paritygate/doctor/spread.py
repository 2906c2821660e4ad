"""Spread: how much fresh processes differ. The same cells are timed again and again, under two sets
of conditions at the same time.

Iterations inside one process say little about the next process. So every launch starts one fork
server for each side, and each cell is timed in one worker of each side, with their blocks
interleaved. The two sides of a launch are therefore measured in the same seconds.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from paritygate.backends import BACKENDS
from paritygate.core.budgets import BUDGETS
from paritygate.core.case import Case, Cell, Target
from paritygate.core.record import Status
from paritygate.host import machine
from paritygate.session.laboratory import Laboratory
from paritygate.session.opened import OpenedCell, make_reference, measure
from paritygate.session.reference import GroupReference
from paritygate.timing import schedule

# name of a side -> whether it is in laboratory conditions; two processes of each, to separate the
# drift of the machine in those seconds from the difference between processes
SIDES = {"laboratory": True, "laboratory 2": True, "default": False, "default 2": False}
CONDITIONS = ("laboratory", "default")
SLOWER = 0.03  # a cell's median under laboratory conditions may be this much above the default's


@dataclass(frozen=True)
class Launch:
    """One cell in one fresh process: medians in seconds per call."""

    launch: int
    cell: str
    side: str
    block_median: float
    p50: float


@dataclass(frozen=True)
class Spread:
    """One cell over launches, by condition (laboratory, default).

    - ``median``: over launches, seconds per call.
    - ``variation``: the coefficient of variation between launches. It includes the machine's drift.
    - ``deviation``: the standard deviation of one process, from two processes that ran in the same
      seconds: that of their log ratio, over the root of two.
    - ``slower``: laboratory over default, less 1, paired within launches.
    """

    cell: str
    launches: int
    median: dict[str, float]
    variation: dict[str, float]
    deviation: dict[str, float]
    slower: float

    def breaks(self) -> list[str]:
        """Return the parts of the rule of the laboratory that this cell breaks."""
        broken = []
        if self.slower > SLOWER:
            broken.append(f"{self.slower:.1%} slower than in the default environment")
        if self.deviation["laboratory"] > self.deviation["default"]:
            broken.append(
                f"processes differ more ({self.deviation['laboratory']:.1%}) than in the default environment "
                f"({self.deviation['default']:.1%})"
            )
        return broken


def launches(
    cells: Sequence[Cell],
    count: int,
    home: Path,
    *,
    seconds: float,
    say: Callable[[str], object],
    first: int = 0,
) -> Iterator[Launch]:
    """Time the cells in ``count`` fresh processes a side, for ``seconds`` of blocks each. Yield
    each result as it is measured.

    ``first``: the number of the first launch.
    """
    laboratories = {
        side: new_laboratory(home, side, controlled, cells) for side, controlled in SIDES.items()
    }
    referenced: set[str] = set()
    try:
        for launch in range(first, first + count):
            for side in random.sample(list(SIDES), len(SIDES)):
                laboratories[side].server(launch)  # all servers import at the same time
            for number, cell in enumerate(random.sample(list(cells), len(cells))):
                say(
                    f"launch {launch + 1 - first} of {count}, cell {number + 1} of {len(cells)}: {cell.id}"
                )
                yield from _launch(cell, launch, laboratories, referenced, seconds)
            for lab in laboratories.values():
                lab.close()
    finally:
        for lab in laboratories.values():
            lab.close()
        for lab in laboratories.values():
            shutil.rmtree(lab.scratch, ignore_errors=True)


def _launch(
    cell: Cell,
    launch: int,
    laboratories: dict[str, Laboratory],
    referenced: set[str],
    seconds: float,
) -> Iterator[Launch]:
    with _opened(cell, launch, laboratories, referenced) as cells:
        _, timings, _ = measure(cells, seconds=seconds, precision=0.0)
        for side, result in timings.items():
            if result.dropped is not None:
                raise RuntimeError(f"{cell.id} under {side}: {result.dropped.args[0]}")
            yield Launch(
                launch,
                cell.id,
                side,
                statistics.median(result.blocks),
                schedule.quantile(result.samples, 0.5),
            )


@contextmanager
def two_processes(cell: Cell, home: Path) -> Iterator[tuple[OpenedCell, OpenedCell]]:
    """Yield the same cell in two laboratory processes. Both are stopped until they are used."""
    laboratories = {side: new_laboratory(home, side, True, [cell]) for side in ("one", "two")}
    try:
        with _opened(cell, 0, laboratories, set()) as cells:
            yield cells["one"], cells["two"]
    finally:
        for lab in laboratories.values():
            lab.close()
        for lab in laboratories.values():
            shutil.rmtree(lab.scratch, ignore_errors=True)


@contextmanager
def _opened(
    cell: Cell, launch: int, laboratories: dict[str, Laboratory], referenced: set[str]
) -> Iterator[dict[str, OpenedCell]]:
    """Yield the cell opened in each laboratory. ``referenced``: the cells whose reference exists
    already.
    """
    cells = {
        side: OpenedCell(GroupReference(lab, cell), cell) for side, lab in laboratories.items()
    }
    if cell.id not in referenced:
        referenced.add(cell.id)
        some = next(iter(cells.values()))
        make_reference(some.reference, [some], launch)
    try:
        for side in random.sample(list(cells), len(cells)):
            if cells[side].ok:
                cells[side].open(launch, keep=True)
            record = cells[side].record
            if record is not None and record.status is not Status.OK:
                raise RuntimeError(f"{cell.id} under {side}: {record.status}: {record.reason}")
        yield cells
    finally:
        for one in cells.values():
            one.close()


def summarise(rows: Sequence[Launch], value: str = "block_median") -> list[Spread]:
    """Return the spread of every cell, in order of appearance."""
    spreads = []
    for cell in dict.fromkeys(row.cell for row in rows):
        values = {
            side: [getattr(row, value) for row in rows if row.cell == cell and row.side == side]
            for side in SIDES
        }
        both = {condition: values[condition] + values[f"{condition} 2"] for condition in CONDITIONS}
        ratios = {
            condition: _log_ratios(values[condition], values[f"{condition} 2"])
            for condition in CONDITIONS
        }
        spreads.append(
            Spread(
                cell=cell,
                launches=len(values["laboratory"]),
                median={condition: statistics.median(v) for condition, v in both.items()},
                variation={
                    condition: statistics.stdev(v) / statistics.fmean(v)
                    for condition, v in both.items()
                },
                deviation={
                    condition: _root_mean_square(v) / math.sqrt(2)
                    for condition, v in ratios.items()
                },
                slower=math.exp(statistics.median(_log_ratios(both["laboratory"], both["default"])))
                - 1,
            )
        )
    return spreads


def gain(spreads: Sequence[Spread], of: str) -> float:
    """Return the geometric mean over cells of the ratio of ``variation`` or ``deviation``,
    laboratory over default.
    """
    ratios = [getattr(s, of)["laboratory"] / getattr(s, of)["default"] for s in spreads]
    return math.exp(statistics.fmean(math.log(ratio) for ratio in ratios))


def _log_ratios(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    return [math.log(one / other) for one, other in zip(ones, others, strict=True)]


def _root_mean_square(values: Sequence[float]) -> float:
    """Return the spread about zero: two processes of one condition have no expected difference."""
    return math.sqrt(statistics.fmean(value * value for value in values))


def cells_of(cases: Sequence[Case], backends: Sequence[str], device: str = "cpu") -> list[Cell]:
    """Return the first shape of each case on the device in fp32, with each of the backends."""
    return [
        Cell(case, case.all_shapes()[0], Target(device, backend, "fp32"))
        for case in cases
        for backend in backends
    ]


def new_laboratory(home: Path, side: str, controlled: bool, cells: Sequence[Cell]) -> Laboratory:
    """Return the laboratory of one side: the parts that its groups share, with a fork server for
    each launch.
    """
    cache = home / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    return Laboratory(
        cache=cache,
        scratch=home / "scratch" / f"{os.getpid()}-spread",
        name=side,
        budget=BUDGETS["quick"],
        backends=BACKENDS,
        threads=machine.threads(),
        seed=0,
        controlled=controlled,
        cells=lambda: cells,
    )
