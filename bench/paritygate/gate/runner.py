"""One run of the gate: measure base and head in launch pairs until every cell is decided.

A launch starts a fresh fork server for each side. If it holds control cells, it starts a third one
for the twin, a second copy of base. Cells come in random order. The two workers of a cell run their
quads in turn, and end before the next cell opens.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from paritygate.core.case import Cell, Group
from paritygate.core.devices import DEVICE_KINDS
from paritygate.core.record import RED, Status, Verdict
from paritygate.gate import launch_pair, validity
from paritygate.gate.conclusion import conclude
from paritygate.gate.disturbance import Disturbances
from paritygate.gate.opened_pair import KEEP_DEADLINE, changes, slower_operators
from paritygate.gate.request import Margins
from paritygate.gate.sides import Broken, InvalidRunError, Result, Side, Sides
from paritygate.gate.stages import Course, Pair
from paritygate.host import nvml
from paritygate.host.lock import timing_lock
from paritygate.host.monitor import Watch
from paritygate.process.client import WorkerError
from paritygate.process.parallel import together
from paritygate.process.protocol import Keep
from paritygate.session.opened import OpenedCell, make_reference
from paritygate.session.reference import GroupReference
from paritygate.timing import diagnostics
from paritygate.timing.schedule import WorkerDroppedError


class GateRun:
    """Runs the sides through the stages of the gate.

    ``identical``: cells of equal code on both sides, from which controls are drawn. Without them a
    control is one of ``cells``, in which base is measured against its twin.
    ``limit``: seconds after which no further launch begins. ``planted``: cell -> share by which
    head is made slower on purpose. ``accepted``: cell -> its accepted slowdown.
    """

    def __init__(
        self,
        sides: Sides,
        *,
        cells: Sequence[Cell],
        identical: Sequence[Cell] = (),
        margins: Margins,
        limit: float,
        planted: Mapping[str, float],
        accepted: Mapping[str, float] | None = None,
        say: Callable[[str], object] = str,
        tell: Callable[[str], object] = str,
    ) -> None:
        self.sides, self._rng = sides, sides.rng
        self.base, self.head = sides.base, sides.head
        wanted = validity.controls_wanted(len(cells))
        equal = self._rng.sample(identical, min(wanted, len(identical)))
        self.cells = {cell.id: cell for cell in (*cells, *equal)}
        self._planted, self._limit, self._say, self._tell = planted, limit, say, tell
        self.course = Course([cell.id for cell in cells], margins, accepted)
        chosen = equal or (self._rng.sample(cells, wanted) if sides.twin else [])
        self.controls = Course([cell.id for cell in chosen], margins)
        self.disturbances = Disturbances()
        self.result = Result()
        self._warnings: dict[str, None] = {}  # of the launches
        self._number = 0
        self._audited: set[str] = set()  # cells, whose times are audited once
        self._kept: set[tuple[str, str]] = set()  # (revision, cell) whose answers are in its folder
        self._started = time.monotonic()
        self._waited = 0.0  # seconds in which another run measured; they do not count

    def run(self) -> Result:
        """Run everything: references, launches, verdicts."""
        try:
            self._clocked("references", self._prepare)
            self._pay(list(self.cells.values()), self.result.seconds["references"])
            while (self.course.wanted() or self._doubted()) and not self._late():
                self._clocked("launches", self._launch)
            self._conclude()
            self._clocked("profiles", self._explain)
        finally:
            self.close()
        return self.result

    def close(self) -> None:
        """End every process of every side."""
        self.sides.close()

    # -- before the first launch

    def _prepare(self) -> None:
        groups: dict[Group, list[Cell]] = {}
        for cell in self.cells.values():
            groups.setdefault(cell.group, []).append(cell)
        # the first launch uses these servers, too
        self._start(self.cells.values(), self.sides.all)
        for number, (group, cells) in enumerate(groups.items(), 1):
            self._say(f"references, group {number} of {len(groups)}: {group}")
            self._reference(cells)

    def _reference(self, cells: list[Cell]) -> None:
        head, base = (GroupReference(side.laboratory, cells[0]) for side in (self.head, self.base))
        references = [base, head]
        if self.sides.twin is not None:
            references.append(GroupReference(self.sides.twin.laboratory, cells[0], base.folder))
        for side, reference in zip(self.sides.all, references, strict=True):
            side.cells |= {cell.id: OpenedCell(reference, cell) for cell in cells}
        ours = [self.head.cells[cell.id] for cell in cells]
        if make_reference(head, ours, self._number):
            theirs = [self.base.cells[cell.id] for cell in cells]
            make_reference(base, theirs, self._number, given=head.folder)
        for side, made in ((self.head, head.made), (self.base, base.made)):
            if strangers := self.sides.slots.strangers(made.sources, side.slot):
                raise InvalidRunError(
                    f"head and base ran the same installed code: {', '.join(strangers[:3])}; uninstall it, or name "
                    "the code under test in the ini option bench_source"
                )
            for cell in cells:
                self._drop_if_broken(side, cell)
        slots, used = self.sides.slots, head.made.sources
        if used and not slots.under_test(used, self.head.slot):
            folders = ", ".join(sorted({str(Path(file).parent) for file in used.values()})[:3])
            reason = (
                f"its code is not in bench_source ({', '.join(slots.sources)}), but in {folders}: "
                "both sides run the same"
            )
            for cell in cells:
                self._drop(cell, Broken("", Status.UNCHECKED, reason))

    def _drop_if_broken(self, side: Side, cell: Cell) -> None:
        record = side.cells[cell.id].record
        if record is None or record.status is Status.OK:
            return
        if cell.id not in self.course.broken:
            self._drop(cell, Broken(self._revision(side), record.status, record.reason))

    def _revision(self, side: Side) -> str:
        """Return the revision whose code a side runs. The twin runs base's."""
        return "head" if side is self.head else "base"

    def _drop(self, cell: Cell, why: Broken) -> None:
        if cell.id not in self.course.broken:
            self.result.broken[cell.id] = why
            self.course.drop(cell.id, why.reason)
        if cell.id in self.controls.screened and cell.id not in self.controls.broken:
            self.controls.drop(cell.id, why.reason)

    # -- launches

    def _wanted(self) -> list[tuple[Course, Cell]]:
        return [
            (course, self.cells[name])
            for course in (self.course, self.controls)
            for name in course.wanted()
        ]

    def _doubted(self) -> bool:
        """Return whether controls are undecided while red verdicts rest on them. A gross change is
        beyond what a control could explain.
        """
        found = self.course.verdicts().values()
        red = any(one.verdict in RED and not one.gross for one in found)
        return red and bool(self.controls.wanted())

    def _late(self) -> bool:
        each = (self.result.seconds.get("launches", 0.0) - self._waited) / max(1, self._number)
        if time.monotonic() - self._started - self._waited + each <= self._limit:
            return False
        self._tell(f"gate: the time is up ({self._limit:.0f} s); undecided cells stay inconclusive")
        return True

    def _launch(self) -> None:
        """Run one launch of every wanted cell. Measure a disturbed pair a second time, and keep the
        calmer one.
        """
        wanted = self._wanted()
        started = time.monotonic()
        # the first launch uses the servers that made the references
        if self._number not in self.base.laboratory.servers:
            sides = [
                self.base,
                self.head,
                *([self.sides.twin] if self.sides.twin and self._has_controls(wanted) else []),
            ]
            self._start((cell for _, cell in wanted), sides)
        found: dict[Course, dict[str, launch_pair.Measured]] = {self.course: {}, self.controls: {}}
        queue = self._rng.sample(wanted, len(wanted))
        for place, (course, cell) in enumerate(queue, 1):  # the queue grows by disturbed cells
            stage = "screen" if course.stage == 1 else "confirm"
            self._say(f"{stage}, launch {self._number}, cell {place} of {len(queue)}: {cell.id}")
            # the other side of a control runs base's code, too: the twin, or head where it is equal
            other = self.head if course is self.course or not self.sides.twin else self.sides.twin
            opened, watch = time.monotonic(), Watch([], _gpus(cell.target.device))
            measured = self._measure(cell, other)
            self._pay([cell], time.monotonic() - opened)
            started += time.monotonic() - opened
            if measured is None:
                continue
            conditions = watch.conditions().with_throttling(measured.held)
            self._warnings |= dict.fromkeys(diagnostics.gpu_warnings(conditions))
            before = found[course].get(cell.id)
            if before is None and self.disturbances.again(
                (course, cell.id), measured.level, conditions, measured.clock
            ):
                queue.append((course, cell))
            calmer = before is not None and before.level < measured.level
            found[course][cell.id] = before if before is not None and calmer else measured
        for side in self.sides.all:
            side.laboratory.close()
        self._pay([cell for _, cell in wanted], time.monotonic() - started)  # mostly imports
        for course, measurements in found.items():
            open_cells = course.wanted()
            if open_cells and not set(open_cells) - set(measurements):
                course.note(
                    {
                        name: Pair(measurements[name].d, measurements[name].within)
                        for name in open_cells
                    }
                )
        self.result.launches.append(list(found[self.course].items()))

    def _start(self, cells: Iterable[Cell], sides: Sequence[Side]) -> None:
        """Start the fork servers of the next launch. They begin their imports at once."""
        self._number += 1
        self.sides.start(self._number, cells, sides)

    def _pay(self, cells: Sequence[Cell], seconds: float) -> None:
        for cell in cells:
            self.result.cost[cell.id] = self.result.cost.get(cell.id, 0.0) + seconds / len(cells)

    def _has_controls(self, wanted: Iterable[tuple[Course, Cell]]) -> bool:
        return any(course is self.controls for course, _ in wanted)

    def _measure(self, cell: Cell, other: Side) -> launch_pair.Measured | None:
        """Measure a cell's quads in this launch. If a side broke, drop the cell and return None."""
        order = self._rng.sample([self.base, other], 2)
        # Two teams of threads that compute at the same time wait for each other's cores. Only
        # loading a compiled graph, which one thread does, gains from it. The first opening must
        # also compute many answers.
        row = self.base.laboratory.backends[cell.target.backend]
        loads = row.single_threaded_load and (self._revision(self.base), cell.id) in self._kept
        at_once = DEVICE_KINDS[cell.target.device].workers_at_once if loads else 1
        together(
            [partial(self._open, side, cell) for side in order], end=self.close, at_once=at_once
        )
        base, head = (side.cells[cell.id] for side in (self.base, other))
        try:
            for side in (other, self.base):
                self._drop_if_broken(side, cell)
            if base.worker is None or head.worker is None:
                return None
            if other is self.head:
                self._note_opening(cell)
                if cell.id not in self.result.certain:
                    certain = changes(base, head, self.course.margins)
                    self.result.certain[cell.id] = certain
            with timing_lock(self._tell) as waited:
                self._waited += waited
                planted = self._planted.get(cell.id, 0.0) if other is self.head else 0.0
                sides = base.timed_worker(), head.timed_worker(planted)
                measured = launch_pair.measure(*sides, self._rng, time.monotonic, base.warm_seconds)
                if other is self.head and cell.id not in self._audited:
                    for timed_worker in sides:
                        timed_worker.audit()
                    self._audited.add(cell.id)
                return measured
        except (WorkerDroppedError, WorkerError) as error:
            end: WorkerError = error if isinstance(error, WorkerError) else error.args[0]
            broken = self.base if base.worker is not None and base.worker.ended else other
            self._drop(cell, Broken(self._revision(broken), end.status, end.reason))
            return None
        finally:
            for side in order:
                side.cells[cell.id].close()

    def _open(self, side: Side, cell: Cell) -> None:
        opened = side.cells[cell.id]
        kept = (self._revision(side), cell.id)  # the twin runs base's code in base's folder
        again = kept in self._kept
        opened.open(self._number, keep=True, again=again)
        worker = opened.worker
        # the twin must not write the file that base may be reading
        if again or worker is None or side is self.sides.twin:
            return
        try:
            worker.ask(Keep(), KEEP_DEADLINE)
        except WorkerError as error:
            opened.end(error.end)
            opened.close()
        else:
            worker.park()
            self._kept.add(kept)

    def _note_opening(self, cell: Cell) -> None:
        """Note peak memory and the seconds to prepare of both workers of a cell."""
        base, head = (side.cells[cell.id].opened for side in (self.base, self.head))
        assert base is not None
        assert head is not None
        seconds = (base.prepare_seconds, head.prepare_seconds)
        self.result.prepared.setdefault(cell.id, []).append(seconds)
        if base.peak_bytes is not None and head.peak_bytes is not None:
            peaks = (base.peak_bytes, head.peak_bytes)
            self.result.peaks.setdefault(cell.id, []).append(peaks)

    def _explain(self) -> None:
        """Find slower operators in regressed cells, by a profiled call on each side."""
        regressed = [
            name
            for name, decided in self.result.decided.items()
            if decided.verdict is Verdict.REGRESSED
        ]
        if not regressed or self.result.invalid:
            return
        self._number += 1
        self.sides.fill_slots(self.cells[name] for name in regressed)
        for name in regressed:
            cell = self.cells[name]
            self._say(f"profile: {name}")
            for side in (self.base, self.head):
                self._open(side, cell)
            if lines := slower_operators(self.base.cells[name], self.head.cells[name]):
                self.result.certain[name].found.extend(lines)
            for side in (self.base, self.head):
                side.cells[name].close()

    def _clocked(self, what: str, step: Callable[[], object]) -> None:
        started = time.monotonic()
        try:
            step()
        finally:
            self.result.seconds[what] = (
                self.result.seconds.get(what, 0.0) + time.monotonic() - started
            )

    # -- after the last launch

    def _conclude(self) -> None:
        self.result.replaced = self.disturbances.repeated
        conclude(self.result, self.course, self.controls)
        self.result.warnings += self._warnings


def _gpus(device: str) -> list[nvml.Gpu]:
    """Return the GPU that cells of this device run on, the first that CUDA shows. Return none for a
    CPU.
    """
    return nvml.visible(os.environ)[:1] if device == "cuda" else []
