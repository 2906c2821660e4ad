"""The whole of one run: options, plan, reference, open, check, time, emit.

pytest drives it. It reads the options, makes items of the matrix's cells, and says what was
selected (``begin``); then item after item asks for a cell that is ``checked`` or ``measured``. Items
come group by group, so one group is open at a time. With ``--bench-against`` the gate comes last.
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
    """The cells that were selected, after ``-k``, ``--lf``, ``--deselect`` and their like.

    ``groups`` holds all of them in the order of the run; ``timed`` the ids of those that get a
    speed, ``gated`` those that get a verdict beside their check.
    """

    groups: dict[Group, list[Cell]] = field(default_factory=dict)
    timed: frozenset[str] = frozenset()
    gated: dict[str, Cell] = field(default_factory=dict)

    @classmethod
    def of(cls, checked: Iterable[Cell], timed: Iterable[Cell], gated: Iterable[Cell]) -> Plan:
        """The plan of these cells."""
        timed, gated = list(timed), list(gated)
        groups: dict[Group, list[Cell]] = {}
        for cell in dict.fromkeys([*checked, *timed, *gated]):
            groups.setdefault(cell.group, []).append(cell)
        return cls(groups, frozenset(cell.id for cell in timed), {cell.id: cell for cell in gated})

    @property
    def cells(self) -> list[Cell]:
        """All of them."""
        return [cell for members in self.groups.values() for cell in members]


class MatrixRun:
    """The cells of one session on their way to records. ``emit`` is called with each record as soon
    as all of it is known. ``home`` makes the folder for what a run needs, when first asked.
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
        self.records: dict[str, Record] = {}  # of the cells of which something is known
        self.calibration: dict[str, Any] | None = None  # kernel -> seconds, once something is timed
        self._emitted: set[str] = set()
        self._group: GroupRun | None = None  # the open one
        self._laboratory: Laboratory | None = None

    def begin(self, plan: Plan) -> None:
        """Take what was selected; progress knows from it what is to come."""
        self.plan = plan
        groups = [str(group) for group, cells in plan.groups.items() if self.matrix.runnable(cells)]
        self.progress.plan([*groups, *(["gate"] if plan.gated else [])])

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
        """Keep a cell's record and hand it on, unless that was done; ``again``: in any case."""
        self.records[record.cell] = record
        if again or record.cell not in self._emitted:
            self._emitted.add(record.cell)
            self._hand_on(record)

    def close_group(self) -> None:
        """End the open group: its workers, its line of progress, and records not yet handed on."""
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
        """End everything; what was measured is kept. ``at_once``: every process before anything
        else is done (Ctrl-C).
        """
        if at_once and self._laboratory is not None:
            self._laboratory.close()
        try:
            self.close_group()
            for name in self.plan.gated:  # interrupted before their verdict: the check is kept
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
        """What all groups share, made when first asked for; its fork servers import for every
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
        """Keep and return the records of the group's selected cells: eager may be beside them."""
        names = [cell.id for cell in self.plan.groups[group.group]]
        known = {name: group.records[name] for name in names if name in group.records}
        self.records |= known
        return list(known.values())

    def _calibrate(self) -> dict[str, Any]:
        """What the machine's own kernels take now."""
        with timing_lock(self.progress.tell):
            environment = replace(self.laboratory, hash_seed=0).environment()
            return calibration.measure(environment, self.laboratory.threads)
