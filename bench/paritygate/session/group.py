"""One group on its way: reference worker, cell workers, check, interleaved timing, records.

The workers of a group live from ``open`` to ``close``, parked except when it is their turn; what
was checked is what is timed.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from paritygate.core.case import Cell, Group, Target
from paritygate.core.devices import DEVICE_KINDS
from paritygate.core.record import Status
from paritygate.host import nvml
from paritygate.host.lock import timing_lock
from paritygate.host.monitor import Watch
from paritygate.process.client import ForkServerError, Worker, WorkerError
from paritygate.process.parallel import together
from paritygate.process.protocol import (
    BEFORE_EAGER,
    A,
    AskConditions,
    Close,
    Conditions,
    Examine,
    MakeReference,
    Open,
    Request,
    Stage,
)
from paritygate.process.timed_worker import TimedWorker
from paritygate.session import records
from paritygate.session.laboratory import Laboratory
from paritygate.timing import diagnostics, schedule

CLOSE_DEADLINE = 10.0  # seconds; what does not end by then is killed


class GroupRun:
    """The cells of one group in one run. ``records`` is complete for a cell once it is checked, or
    timed.

    ``timed`` are the cells that will be; eager runs beside them unreported where it was not
    selected, so that "vs eager" is never blank.
    """

    def __init__(
        self, laboratory: Laboratory, group: Group, cells: Sequence[Cell], timed: Sequence[Cell]
    ) -> None:
        self.laboratory, self.group, self.timed = laboratory, group, timed
        self.case, self.shape = cells[0].case, cells[0].shape
        eager = Cell(self.case, self.shape, Target(group.device, "eager", group.dtype))
        unreported = [eager] if timed and eager not in cells and self._wants(eager) else []
        self.cells = [*cells, *unreported]
        self.records = {cell.id: records.blank(cell) for cell in self.cells}
        self.workers: dict[str, Worker] = {}
        self.peaks: dict[str, int | None] = {}  # bytes, of the worker opened last
        self.timings: dict[str, list[schedule.Timing]] = {}
        self.warnings: dict[str, list[str]] = {}
        self.facts: dict[str, Any] = {}
        # the user's modules that the reference worker imported, and their files
        self.sources: dict[str, str] = {}
        self.foreign_weights = ""  # why another revision's weights were not taken over
        self.folder = laboratory.scratch / str(group)

    def open(self) -> None:
        """Make the reference, then open and check every cell; parked workers remain for those that
        are ok.
        """
        try:
            if self.make_reference():
                self.open_cells(launch=0)
        except ForkServerError as error:
            for record in self.records.values():
                if record.status is Status.OK and record.error is None:
                    records.gave_up(record, Status.CRASHED, str(error))
        for cell in self.cells:
            self._note_gap(cell)

    def time(self) -> None:
        """Measure the ok cells interleaved, spread over the budget's launches, and complete their
        records.
        """
        budget = self.laboratory.budget
        for launch in range(budget.launches):
            if launch:
                self.close()
                try:
                    self.open_cells(launch)
                except ForkServerError as error:
                    self.laboratory.tell(f"{self.group}: launch {launch + 1} failed: {error}")
                    continue
            self._time_launch(budget.seconds / budget.launches)
        eager = self.timings.get(self._id("eager"), [])
        for cell in self.cells:
            if self.records[cell.id].status is Status.OK and cell.id in self.timings:
                records.timed(self.records[cell.id], cell.units, self.timings[cell.id], eager)
                record = self.records[cell.id]
                record.warnings = list(
                    dict.fromkeys([*record.warnings, *self.warnings.get(cell.id, [])])
                )

    def close(self) -> None:
        """End the group's workers."""
        for name, worker in self.workers.items():
            self._end(worker, self.records[name].backend)
        self.workers.clear()

    def _end(self, worker: Worker, backend: str) -> None:
        """End a worker; one of the case's own variants may have started processes, which it ends
        first.
        """
        if backend in self.case.variants:
            with suppress(WorkerError):
                worker.ask(Close(), CLOSE_DEADLINE)
        worker.close()

    def _id(self, backend: str) -> str:
        return (
            f"{self.case.name}-{self.shape.name}-{self.group.device}-{backend}-{self.group.dtype}"
        )

    def _wants(self, cell: Cell) -> bool:
        wanted = any(cell.target.matches(pattern) for pattern in self.case.targets)
        return wanted and self.case.reason(self.case.skips, cell.target) is None

    def _task(self, backend: str) -> dict[str, Any]:
        return {
            "case": self.case.as_dict(),
            "shape": self.shape.name,
            "device": self.group.device,
            "dtype_name": self.group.dtype,
            "backend": backend,
            "folder": str(self.folder),
            "cache": str(self.laboratory.cache),
            "seed": self.laboratory.seed,
            "threads": self.laboratory.threads,
            "laboratory": self.laboratory.controlled,
            "suite": self.laboratory.homes.get(self.case.name, ""),
        }

    def _module(self, cell: Cell) -> str:
        return self.laboratory.backends[cell.target.backend].module

    def _ask(self, worker: Worker, request: Request[A], cold: bool) -> A:
        """A worker's answer: within the case's deadline, or else within the budget's and what the
        worker asks for.
        """
        budget, declared = self.laboratory.budget, self.case.deadline
        seconds = declared or (budget.cold_deadline if cold else budget.open_deadline)
        return worker.ask(request, seconds, self._say, declared=bool(declared))

    def _say(self, what: str) -> None:
        self.laboratory.say(f"{self.case.name} {self.shape.name}: {what}")

    def make_reference(self, launch: int = 0, given: Path | None = None) -> bool:
        """Fill the group's scratch folder, with inputs and weights of its own or those of the
        folder ``given``.

        Whether there is something to compare with; if not, every record says why.
        """
        backends = {
            cell.target.backend: self._module(cell)
            for cell in self.cells
            if self.laboratory.backends[cell.target.backend].artefact
        }
        worker = self.laboratory.server(launch).fork(self._task(""))
        try:
            given_folder = None if given is None else str(given)
            request = MakeReference(backends, given_folder, self.laboratory.mutate)
            made = self._ask(worker, request, bool(backends))
        except WorkerError as end:
            return self._without_reference(end)
        finally:
            worker.close()
        self.facts, self.sources, self.foreign_weights = made.facts, made.sources, made.weights
        for cell in self.cells:
            record = self.records[cell.id]
            artefact = made.artefacts.get(cell.target.backend, {})
            if made.unchecked:
                records.gave_up(record, Status.UNCHECKED, made.unchecked)
            elif failure := artefact.get("failure"):
                records.gave_up(
                    record, Status(failure["status"]), failure["reason"], failure["trace"]
                )
            elif artefact.get("cold"):
                record.prepare_cold_seconds = artefact["seconds"]  # opening it is added below
        return not made.unchecked

    def _without_reference(self, end: WorkerError) -> bool:
        """What a reference worker that did not come back means; whether cells can be opened all the
        same.
        """
        if end.stage is Stage.MAKING_ARTEFACT:
            records.ended(self.records[self._id(end.detail)], end)
            return True
        answered = end.stage is not None and end.stage not in BEFORE_EAGER
        for record in self.records.values():
            records.ended(record, end)
            if end.status is not Status.SKIPPED and answered:
                records.gave_up(
                    record, Status.UNCHECKED, f"no reference: {end.status}, {end.reason}"
                )
        return False

    def ask_conditions(self) -> Conditions:
        """What a worker of this group really got; see ``paritygate.worker.server``."""
        worker = self.laboratory.server(0).fork(self._task(""))
        try:
            return self._ask(worker, AskConditions(), cold=False)
        finally:
            worker.close()

    def open_cells(self, launch: int) -> None:
        """Open and check, in a launch's fork server, every cell that is still ok; those to be timed
        stay parked.
        """
        open_now = [cell for cell in self.cells if self.records[cell.id].status is Status.OK]
        if not self.timed:  # nothing of it is timed, the seconds to prepare included
            calls = [partial(self.open_cell, cell, launch, keep=False) for cell in open_now]
            together(
                calls,
                end=self.laboratory.close,
                at_once=DEVICE_KINDS[self.group.device].workers_at_once,
            )
            return
        for cell in open_now:
            self.open_cell(cell, launch, keep=cell in self.timed or cell.target.backend == "eager")

    def open_cell(self, cell: Cell, launch: int, keep: bool, again: bool = False) -> None:
        """Open and check one cell; its record says how that ended. An ok one that is to be kept
        stays parked.

        ``again``: an earlier worker has left its answers, and that they come again is check enough.
        """
        try:
            self._open(cell, launch, keep, again)
        except WorkerError as end:
            records.ended(self.records[cell.id], end)

    def _open(self, cell: Cell, launch: int, keep: bool, again: bool) -> None:
        """Open a cell's worker. One that had to compile is replaced by one that finds the cache
        warm: peak memory and prepare seconds are then those of any later run.
        """
        record = self.records[cell.id]
        module = self._module(cell)
        backend = cell.target.backend
        row = self.laboratory.backends[backend]
        request, examined = Open(module, again), None
        for attempt in ("cold", "warm"):
            worker = self.laboratory.server(launch).fork(self._task(backend))
            try:
                opened = self._ask(worker, request, row.compiles)
                cold = attempt == "cold" and opened.facts.get("cold") and opened.status == Status.OK
                if record.error is None and not again and not cold:
                    examine = Examine(batch_invariance=row.resizable)
                    examined = self._ask(worker, examine, row.compiles)
            except WorkerError:
                worker.close()
                raise
            if not cold:
                break
            self._end(worker, backend)
            record.prepare_cold_seconds = opened.prepare_seconds
        self.peaks[cell.id] = opened.peak_bytes
        if record.error is None:  # its first launch
            exported = record.prepare_cold_seconds if row.artefact else None
            records.opened(record, opened, examined, self.facts)
            if exported is not None:
                record.prepare_cold_seconds = exported + opened.prepare_seconds
        elif opened.status != Status.OK:
            records.opened(record, opened, None, self.facts)
        if record.status is Status.OK and keep:
            worker.seconds_per_call = opened.first_call_seconds
            self.workers[cell.id] = worker
            worker.park()
        else:
            self._end(worker, backend)

    def _time_launch(self, seconds: float) -> None:
        timed_workers = {cell_id: TimedWorker(worker) for cell_id, worker in self.workers.items()}
        if not timed_workers:
            return
        rng = random.Random()  # the order must not be the same in every run
        self._say(f"measuring {len(timed_workers)} cells")
        with timing_lock(self.laboratory.tell):
            watch = Watch([worker.pid for worker in self.workers.values()], self._gpus())
            measured = schedule.measure(
                timed_workers,
                seconds=seconds,
                precision=self.laboratory.budget.precision,
                rng=rng,
                clock=time.monotonic,
                busy=DEVICE_KINDS[self.group.device].warm_seconds,
                on_progress=lambda share: self._say(
                    f"measuring {len(timed_workers)} cells, {share:.0%}"
                ),
            )
            conditions = watch.conditions()
        for cell_id, result in measured.items():
            record = self.records[cell_id]
            try:
                if result.dropped is not None:
                    raise result.dropped.args[0]
                record.facts |= timed_workers[cell_id].finish(self.laboratory.budget.energy_seconds)
                if replaced := timed_workers[cell_id].replaced:
                    record.facts["replaced_blocks"] = dict(replaced)
                if held := timed_workers[cell_id].held:
                    record.facts["held_blocks"] = dict(held)
                record.facts.pop("cold", None)
            except WorkerError as end:
                records.ended(record, end)
                continue
            self.timings.setdefault(cell_id, []).append(result)
            found = diagnostics.advise(
                result.blocks, result.warm, conditions.with_throttling(timed_workers[cell_id].held)
            )
            if (
                device_seconds := record.facts.get("device_seconds")
            ) is not None and not self.case.cold_cache:
                found += diagnostics.launch_bound(device_seconds, statistics.median(result.blocks))
            self.warnings.setdefault(cell_id, []).extend(found)

    def _gpus(self) -> list[nvml.Gpu]:
        """The GPU that the group's cells run on, as NVML shows it; none on a processor."""
        uuids = {self.records[cell_id].facts.get("gpu_uuid") for cell_id in self.workers}
        with suppress(LookupError):
            return [nvml.of_process(os.environ, uuid) for uuid in uuids if uuid]
        return []

    def _note_gap(self, cell: Cell) -> None:
        record = self.records[cell.id]
        if reason := self.case.reason(self.case.known_failures, cell.target):
            if record.status is Status.PARITY_FAILED:
                record.facts["known_gap"] = reason
            elif record.status is Status.OK:
                record.facts["gap_closed"] = reason
