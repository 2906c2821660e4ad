"""Run one group: make its reference, open and check its cells, time them interleaved, make records."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial

from paritygate.core.case import Cell, Target, cell_of
from paritygate.core.devices import DEVICE_KINDS
from paritygate.core.record import End, Record, Status
from paritygate.process.client import ForkServerError, WorkerError
from paritygate.process.parallel import together
from paritygate.session import opened, records
from paritygate.session.laboratory import Laboratory
from paritygate.session.opened import OpenedCell
from paritygate.session.reference import GroupReference
from paritygate.timing import diagnostics, schedule


class GroupRun:
    """The cells of one group in one run. ``records`` holds the records that exist so far.

    ``timed``: the cells to time. If eager was not selected, it is timed beside them without a
    report, so that "vs eager" is never blank. ``was_timed``: whether ``time`` has begun; it is
    called once.
    """

    def __init__(
        self, laboratory: Laboratory, cells: Sequence[Cell], timed: Sequence[Cell] = ()
    ) -> None:
        self.reference, self.timed = GroupReference(laboratory, cells[0]), timed
        self.group = self.reference.group
        self._eager = Cell(
            cells[0].case, cells[0].shape, Target(self.group.device, "eager", self.group.dtype)
        )
        unreported = timed and self._eager not in cells and _wants(self._eager)
        every = [*cells, *([self._eager] if unreported else [])]
        self.cells = {cell.id: OpenedCell(self.reference, cell) for cell in every}
        self.was_timed = False
        self._timings: dict[str, list[schedule.Timing]] = {}
        self._warnings: dict[str, list[str]] = {}

    @property
    def records(self) -> dict[str, Record]:
        """The records of its cells, by cell id."""
        return {name: cell.record for name, cell in self.cells.items() if cell.record is not None}

    def open(self) -> None:
        """Make the reference, then open and check every cell.

        Keep a parked worker for every cell that is ok and timed.
        """
        try:
            if opened.make_reference(self.reference, list(self.cells.values())):
                self.open_cells(launch=0)
        except ForkServerError as error:
            for cell in self.cells.values():
                if cell.record is None:
                    cell.end(End(Status.CRASHED, str(error)))
        for cell in self.cells.values():
            assert cell.record is not None
            cell.record = records.with_known_failure(cell.cell, cell.record)

    def open_cells(self, launch: int) -> None:
        """Open and check every cell that is still ok, in the fork server of a launch.

        Workers of cells to be timed stay parked.
        """
        open_now = [cell for cell in self.cells.values() if cell.ok]
        if not self.timed:  # no times are needed, not even the seconds to prepare
            together(
                [partial(cell.open, launch, keep=False) for cell in open_now],
                end=self.reference.laboratory.close,
                at_once=DEVICE_KINDS[self.group.device].workers_at_once,
            )
            return
        for cell in open_now:
            cell.open(launch, keep=cell.cell in self.timed or cell.cell == self._eager)

    def time(self) -> None:
        """Measure the ok cells interleaved, spread over the budget's launches, and complete their
        records.
        """
        self.was_timed, laboratory = True, self.reference.laboratory
        budget = laboratory.budget
        for launch in range(budget.launches):
            if launch:
                self.close()
                try:
                    self.open_cells(launch)
                except ForkServerError as error:
                    laboratory.tell(f"{self.group}: launch {launch + 1} failed: {error}")
                    continue
            self._time_launch(budget.seconds / budget.launches, audit=launch == 0)
        eager = self._timings.get(self._eager.id, [])
        for name, launches in self._timings.items():
            cell, record = self.cells[name], self.cells[name].record
            if record is not None and cell.ok:
                warnings = dict.fromkeys([*record.warnings, *self._warnings[name]])
                speed = records.speed(cell.cell, launches, eager)
                cell.record = record.joined(speed, warnings=list(warnings))

    def close(self) -> None:
        """End the group's workers."""
        for cell in self.cells.values():
            cell.close()

    def _time_launch(self, seconds: float, audit: bool) -> None:
        parked = {name: cell for name, cell in self.cells.items() if cell.worker is not None}
        if not parked:
            return
        budget, what = self.reference.laboratory.budget, f"measuring {len(parked)} cells"
        self.reference.say(what)
        timed_workers, timings, conditions = opened.measure(
            parked,
            seconds=seconds,
            precision=budget.precision,
            on_progress=lambda share: self.reference.say(f"{what}, {share:.0%}"),
            audit=audit,
        )
        for name, timing in timings.items():
            cell, worker = parked[name], timed_workers[name]
            assert cell.record is not None  # the cell was opened
            try:
                if timing.dropped is not None:
                    raise timing.dropped.args[0]
                facts = cell.record.facts | worker.finish(budget.energy_seconds)
            except WorkerError as error:
                cell.end(error.end)
                continue
            facts |= {"replaced_blocks": dict(worker.replaced)} if worker.replaced else {}
            facts |= {"held_blocks": dict(worker.held)} if worker.held else {}
            facts |= {"not_audited": worker.not_audited} if worker.not_audited else {}
            cell.record = cell.record.joined(facts=facts)
            self._timings.setdefault(name, []).append(timing)
            warnings = self._warnings.setdefault(name, [])
            warnings += diagnostics.advise(
                timing.blocks, timing.warm, conditions.with_throttling(worker.held)
            )
            device_seconds = facts.get("device_seconds")
            if device_seconds is not None and not cell.cell.case.cold_cache:
                warnings += diagnostics.launch_bound(
                    device_seconds, statistics.median(timing.blocks)
                )


def _wants(cell: Cell) -> bool:
    wanted = cell_of(cell.case, cell.shape, cell.target) is not None
    return wanted and cell.case.reason(cell.case.skips, cell.target) is None
