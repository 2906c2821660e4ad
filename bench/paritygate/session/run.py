"""The whole of one run: options, plan, reference, open, check, time, emit.

pytest drives it. It reads the options, makes items from the matrix's cells, and passes the selected
ones to ``begin``. Then each item calls ``checked`` or ``measured`` for its cell. Items come group by
group, so only one group is open at a time. With ``--bench-against`` the gate comes last.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from paritygate.core.case import Cell, Group
from paritygate.core.record import Record, Status
from paritygate.host import calibration
from paritygate.host.lock import timing_lock
from paritygate.session import laboratory, records
from paritygate.session.group import GroupRun
from paritygate.session.laboratory import Laboratory
from paritygate.session.matrix import Matrix
from paritygate.session.progress import Progress


@dataclass(frozen=True)
class Plan:
    """The cells that remain after ``-k``, ``--lf``, ``--deselect`` and similar options.

    ``groups``: all of them, in the order of the run. ``timed``: the ids of those that get a speed.
    ``gated``: those that get a verdict beside their check. ``left_out``: the ids of those of them
    that need no measurement for it.
    """

    groups: dict[Group, list[Cell]] = field(default_factory=dict)
    timed: frozenset[str] = frozenset()
    gated: dict[str, Cell] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()

    @classmethod
    def of(cls, checked: Iterable[Cell], timed: Iterable[Cell], gated: Iterable[Cell]) -> Plan:
        """Return the plan of these cells."""
        timed, gated = list(timed), list(gated)
        groups: dict[Group, list[Cell]] = {}
        for cell in dict.fromkeys([*checked, *timed, *gated]):
            groups.setdefault(cell.group, []).append(cell)
        return cls(groups, frozenset(cell.id for cell in timed), {cell.id: cell for cell in gated})

    def without(self, left_out: Iterable[str]) -> Plan:
        """Return the plan in which these cells are not opened. They stay among those that get a
        verdict.
        """
        left_out = frozenset(left_out)
        groups = {
            group: others
            for group, cells in self.groups.items()
            if (others := [cell for cell in cells if cell.id not in left_out])
        }
        return replace(self, groups=groups, left_out=left_out)

    @property
    def cells(self) -> list[Cell]:
        """All cells of the plan."""
        return [cell for members in self.groups.values() for cell in members]


class MatrixRun:
    """Runs the cells of one session and makes their records. ``emit`` is called with each record as
    soon as it is complete. ``home`` makes the run's folder at its first call.
    """

    def __init__(
        self,
        matrix: Matrix,
        home: Callable[[], Path],
        progress: Progress,
        emit: Callable[[Record], None],
    ) -> None:
        self.matrix, self.progress = matrix, progress
        self._home, self._hand_on = home, emit
        self.plan = Plan()
        self.records: dict[str, Record] = {}  # of the cells that have one so far
        self.calibration: dict[str, Any] | None = None  # kernel -> seconds, set at the first timing
        self._emitted: set[str] = set()
        self._group: GroupRun | None = None  # the open one
        self._laboratory: Laboratory | None = None

    def begin(self, plan: Plan) -> None:
        """Start with the selected cells. Progress gets the names of their groups."""
        self.plan = plan
        groups = [str(group) for group, cells in plan.groups.items() if self.matrix.runnable(cells)]
        gate = ["gate"] if plan.gated.keys() - plan.left_out else []
        self.progress.plan([*groups, *gate])

    def checked(self, cell: Cell) -> Record:
        """Return the record of a cell after its check, opening its group if it is not open yet."""
        if cell.id not in self.records:
            self._open(cell.group)
        return self.records[cell.id]

    def _open(self, group: Group) -> None:
        """Make a group's reference, open and check its cells."""
        self.close_group()
        members = self.plan.groups[group]
        for cell in members:
            if reason := self.matrix.unavailable(cell):
                self.emit(records.skipped(cell, reason))
        cells = self.matrix.runnable(members)
        if not cells:
            return
        self.progress.start(str(group))
        timed = [cell for cell in cells if cell.id in self.plan.timed]
        self._group = GroupRun(self.laboratory, cells, timed)
        self._group.open()
        for record in self._known(self._group):
            later = record.cell in self.plan.timed or record.cell in self.plan.gated
            if not later or record.status is not Status.OK:
                self.emit(record)

    def measured(self, cell: Cell) -> Record:
        """Return the record of a cell after its group was timed."""
        self.checked(cell)
        group = self._group
        if group is not None and group.group == cell.group and not group.was_timed:
            if self.calibration is None:
                self.calibration = self._calibrate()
            group.time()
            for record in self._known(group):
                if record.cell in self.plan.timed:
                    self.emit(record)
        return self.records[cell.id]

    def emit(self, record: Record, again: bool = False) -> None:
        """Keep a cell's record and emit it, unless it was emitted before. ``again``: emit it anyway."""
        self.records[record.cell] = record
        if again or record.cell not in self._emitted:
            self._emitted.add(record.cell)
            self._hand_on(record)

    def close_group(self) -> None:
        """Close the open group: end its workers and its line of progress, and emit its other records."""
        if self._group is None:
            return
        group, self._group = self._group, None
        group.close()
        shutil.rmtree(group.reference.folder, ignore_errors=True)
        self._known(group)  # it may have been interrupted
        members = self.plan.groups[group.group]
        known = [self.records[cell.id] for cell in members if cell.id in self.records]
        for record in known:
            if record.cell not in self.plan.gated:
                self.emit(record)
        self.progress.finish(str(group.group), known)

    def close(self, at_once: bool = False) -> None:
        """End everything and keep the measurements. ``at_once``: end all processes first, after
        Ctrl-C.
        """
        if at_once and self._laboratory is not None:
            self._laboratory.close()
        try:
            self.close_group()
            for name in self.plan.gated:  # interrupted before their verdict: keep the check
                if name in self.records:
                    self.emit(self.records[name])
        finally:
            if self._laboratory is not None:
                self._laboratory.close()
                shutil.rmtree(self._laboratory.scratch, ignore_errors=True)
                self._laboratory = None
            self.progress.wipe()

    @property
    def laboratory(self) -> Laboratory:
        """The laboratory that all groups share, made at first use. Its fork servers import for every
        selected cell.
        """
        if self._laboratory is None:
            self._laboratory = laboratory.made(
                self._home(),
                self.matrix,
                cells=lambda: self.matrix.runnable(self.plan.cells),
                progress=self.progress,
            )
        return self._laboratory

    def _known(self, group: GroupRun) -> list[Record]:
        """Keep and return the records of the group's selected cells. The group may have eager besides."""
        names = [cell.id for cell in self.plan.groups[group.group]]
        known = {name: group.records[name] for name in names if name in group.records}
        self.records |= known
        return list(known.values())

    def _calibrate(self) -> dict[str, Any]:
        """Return the seconds that the calibration kernels take now."""
        with timing_lock(self.progress.tell):
            environment = replace(self.laboratory, hash_seed=0).environment()
            return calibration.measure(environment, self.laboratory.threads)
