"""OpenedCell: one cell whose worker is opened and checked, parked, timed, and closed.

The same worker is checked and timed. A session, the gate and the doctor all use these cells.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from paritygate.core.case import Cell
from paritygate.core.devices import DEVICE_KINDS
from paritygate.core.record import End, Record, Status
from paritygate.host import nvml
from paritygate.host.lock import timing_lock
from paritygate.host.monitor import Watch
from paritygate.process.client import Worker, WorkerError
from paritygate.process.protocol import BEFORE_EAGER, Close, Examine, Examined, Open, Opened, Stage
from paritygate.process.timed_worker import TimedWorker
from paritygate.session import records
from paritygate.session.reference import GroupReference
from paritygate.timing import diagnostics, schedule

CLOSE_DEADLINE = 10.0  # seconds; a worker that has not ended by then is killed


class OpenedCell:
    """One cell in one laboratory. ``record``: its record, or None before there is one.

    ``worker`` exists from ``open`` to ``close``, parked, if the cell is ok and is to be kept.
    """

    def __init__(self, reference: GroupReference, cell: Cell) -> None:
        self.reference, self.cell = reference, cell
        self.record: Record | None = None
        self.worker: Worker | None = None
        self.opened: Opened | None = None  # the worker opened last, with warm caches
        self.cold_seconds: float | None = None  # to prepare it with empty caches, as far as seen
        self._examined: Examined | None = None

    @property
    def ok(self) -> bool:
        """Whether the cell can be opened or timed: it has no record yet, or an ok one."""
        return self.record is None or self.record.status is Status.OK

    def end(self, end: End) -> None:
        """Make the record of a cell that has ended this way."""
        record = records.ended(self.cell, end, self.record)
        self.record = replace(record, prepare_cold_seconds=self.cold_seconds)

    def open(self, launch: int, keep: bool, again: bool = False) -> None:
        """Open and check the cell in a launch's fork server, and make its record.

        ``again``: an earlier worker has saved its answers. The check is then that they are the same.
        """
        try:
            self._open(launch, keep, again)
        except WorkerError as error:
            self.end(error.end)

    def _open(self, launch: int, keep: bool, again: bool) -> None:
        """Open the worker. If it had to compile, replace it by one that finds the cache warm: its peak
        memory and prepare seconds are those of any later run.
        """
        reference, backend = self.reference, self.cell.target.backend
        row = reference.laboratory.backends[backend]
        first, request = self.record is None, Open(row.module, again)
        for attempt in ("cold", "warm"):
            worker = reference.fork(backend, launch)
            try:
                opened = reference.ask(worker, request, row.compiles)
                cold = attempt == "cold" and opened.cold and opened.status == Status.OK
                if first and not again and not cold:
                    examine = Examine(batch_invariance=row.resizable)
                    self._examined = reference.ask(worker, examine, row.compiles)
            except WorkerError:
                worker.close()
                raise
            if not cold:
                break
            self._end(worker)
            self.cold_seconds = opened.prepare_seconds
        self.opened = opened
        if first and row.artefact and self.cold_seconds is not None:
            self.cold_seconds += opened.prepare_seconds  # beside exporting it
        if first or opened.status != Status.OK:
            found = replace(opened, prepare_cold_seconds=self.cold_seconds)
            self.record = records.checked(self.cell, found, self._examined, reference.made.facts)
        if self.ok and keep:
            worker.seconds_per_call = opened.first_call_seconds
            self.worker = worker
            worker.park()
        else:
            self._end(worker)

    def timed_worker(self, planted: float = 0.0) -> TimedWorker:
        """Return the cell's worker for timing. ``planted``: see ``TimedWorker``."""
        assert self.worker is not None
        return TimedWorker(self.worker, planted)

    @property
    def warm_seconds(self) -> float:
        """Seconds that its device works before its times count."""
        return DEVICE_KINDS[self.cell.target.device].warm_seconds

    def close(self) -> None:
        """End its worker."""
        worker, self.worker = self.worker, None
        if worker is not None:
            self._end(worker)

    def _end(self, worker: Worker) -> None:
        """End a worker. A worker of a variant may have started processes, and ends them first."""
        if self.cell.target.backend in self.cell.case.variants:
            with suppress(WorkerError):
                worker.ask(Close(), CLOSE_DEADLINE)
        worker.close()


def make_reference(
    reference: GroupReference,
    cells: Sequence[OpenedCell],
    launch: int = 0,
    given: Path | None = None,
) -> bool:
    """Make the reference of the cells of one group. Return whether it exists. If not, the record of
    every cell holds the reason.
    """
    by_backend = {cell.cell.target.backend: cell for cell in cells}
    try:
        made = reference.make(list(by_backend), launch, given)
    except WorkerError as error:
        if error.stage is Stage.MAKING_ARTEFACT:
            by_backend[error.detail].end(error.end)
            return True
        end = error.end
        answered = error.stage is not None and error.stage not in BEFORE_EAGER
        if answered and end.status is not Status.SKIPPED:
            reason = f"no reference: {end.status}, {end.reason}"
            end = replace(end, status=Status.UNCHECKED, reason=reason)
        for cell in cells:
            cell.end(end)
        return False
    for backend, cell in by_backend.items():
        artefact = made.artefacts.get(backend, {})
        if made.unchecked:
            cell.end(End(Status.UNCHECKED, made.unchecked))
        elif failure := artefact.get("failure"):
            cell.end(End(Status(failure["status"]), failure["reason"], failure["trace"]))
        elif artefact.get("cold"):
            cell.cold_seconds = artefact["seconds"]
    return not made.unchecked


def measure(
    cells: Mapping[str, OpenedCell],
    *,
    seconds: float,
    precision: float,
    on_progress: Callable[[float], object] = float,
    audit: bool = False,
) -> tuple[dict[str, TimedWorker], dict[str, schedule.Timing], diagnostics.Conditions]:
    """Time opened cells of one device, their blocks interleaved, while no other run measures.

    ``audit``: then audit the times of each. A cell that fails the audit is dropped.
    """
    timed_workers = {name: cell.timed_worker() for name, cell in cells.items()}
    some = next(iter(cells.values()))
    with timing_lock(some.reference.laboratory.tell):
        watch = Watch([one.worker.pid for one in timed_workers.values()], _gpus(cells.values()))
        timings = schedule.measure(
            timed_workers,
            seconds=seconds,
            precision=precision,
            rng=random.Random(),  # the order must not be the same in every run
            clock=time.monotonic,
            busy=some.warm_seconds,
            on_progress=on_progress,
        )
        conditions = watch.conditions()
        for name, timed_worker in timed_workers.items() if audit else ():
            if timings[name].dropped is None:
                try:
                    timed_worker.audit()
                except schedule.WorkerDroppedError as why:
                    timings[name].dropped = why
        return timed_workers, timings, conditions


def _gpus(cells: Iterable[OpenedCell]) -> list[nvml.Gpu]:
    """Return the GPU of the cells, as NVML shows it; an empty list on a CPU."""
    uuids = {cell.record.facts.get("gpu_uuid") for cell in cells if cell.record is not None}
    with suppress(LookupError):
        return [nvml.gpu_of_process(os.environ, uuid) for uuid in uuids if uuid]
    return []
