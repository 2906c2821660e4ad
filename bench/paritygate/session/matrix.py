"""Matrix: the cells of a session, from declarations to records; lives in ``config.stash``.

Holds what outlives a single item: which cells there are, which are selected, the group that is open. Items
come group by group (the plugin orders them), so one group is open at a time.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paritygate.backends import Backend
from paritygate.core.budgets import Budget
from paritygate.core.case import LOCATIONS, Case, Cell, DeclarationError, Group, Target, cell_of
from paritygate.core.record import Record, Run, Status, Verdict
from paritygate.host import calibration, git, machine, paths
from paritygate.host.lock import timing_lock
from paritygate.host.lookup import Lookup, Suites
from paritygate.process import environment as laboratory
from paritygate.process.client import ForkServer
from paritygate.session import records, targets
from paritygate.session.group import GroupRun, Laboratory
from paritygate.session.progress import Progress

if TYPE_CHECKING:
    from paritygate.gate.session import Gate

WAYS = "paritygate.backends.variants"
MEMORY_SHARE = 0.9  # of what is available, unless --bench-memory says otherwise


class Matrix:
    """The cells of one session. ``emit`` is called with each record as soon as all of it is known."""

    def __init__(
        self,
        home: Callable[[], Path],
        *,
        budget: Budget,
        chosen: Sequence[Target],
        backends: Mapping[str, Backend],
        controlled: bool,
        seed: int,
        memory: int | None,
        mutate: bool = False,
        progress: Progress,
        emit: Callable[[Record], None],
        suites: Suites | None = None,
    ) -> None:
        self._home, self.budget, self.chosen, self.backends = home, budget, chosen, dict(backends)
        self.controlled, self.seed, self.memory, self.mutate = controlled, seed, memory, mutate
        self.progress, self._emit = progress, emit
        self.suites = suites or Suites()
        self.homes: dict[str, str] = {}  # case -> the folder of the suite file that declares it first
        self.cases: dict[str, Case] = {}
        self.records: dict[str, Record] = {}
        self.members: dict[Group, list[Cell]] = {}
        self.timed: set[str] = set()
        self._emitted: set[str] = set()
        self._open: GroupRun | None = None
        self._measured = False
        self._laboratory: Laboratory | None = None
        self._reasons: dict[Target, str | None] = {}
        self.gated: dict[str, Cell] = {}
        self.gate: Gate | None = None
        self._gate_failed: Exception | None = None
        self.comparison: dict[str, Any] = {}  # of the gate's run as a whole, once it has run
        self.calibration: dict[str, Any] | None = None  # kernel -> seconds, once something is timed
        self._arguments: list[str] | None = None

    def cells(self, cases: Iterable[Case], timed: bool, suite: Path | None = None) -> list[Cell]:
        """The cells of some cases within budget and targets; with ``timed`` only those that have a speed.

        Beside a timed one, shapes for parity only are compiled from the normal budget up: it takes seconds each.
        ``suite``: the folder of the suite file. Raises ``DeclarationError`` when two different cases bear one name.
        """
        found = []
        for case in cases:
            if not isinstance(case, Case):
                raise DeclarationError(f"@pytest.mark.cells takes a tuple of Case, found {case!r}")
            known = self.cases.setdefault(case.name, case)
            if known is not case and known.as_dict() != case.as_dict():
                raise DeclarationError(
                    f"two cases are named {case.name!r}{self._where(case, suite)}; ids join history, give one of them "
                    "another name"
                )
            if suite is not None and self.homes.setdefault(case.name, str(suite)) != str(suite):
                self._refuse_other_files(case, str(suite))
            wanted = [target for chosen in self.chosen for target in self._with_ways(case, chosen)]
            shapes = self.budget.shapes(case)
            beside = self.budget.name == "quick" and any(shape.timed for shape in shapes)
            for shape in shapes:
                for target in wanted:
                    compiles = target.backend.startswith(("compile", "aoti"))
                    left_out = beside and compiles and not shape.timed
                    cell = None if left_out or (timed and not shape.timed) else cell_of(case, shape, target)
                    if cell is not None:
                        found.append(cell)
        return found

    def _where(self, case: Case, suite: Path | None) -> str:
        """In which suites' folders two cases of one name are, where these are two."""
        first = self.homes.get(case.name)
        return "" if first is None or suite is None or first == str(suite) else f" (in {first} and in {suite})"

    def _refuse_other_files(self, case: Case, suite: str) -> None:
        """Raise ``DeclarationError`` where a case of another suite, declared alike, is another one: by its files."""
        first, lookup = self.homes[case.name], Lookup(self.suites, sys.path)
        named = [getattr(case, what) for what in LOCATIONS]
        for location in [*filter(None, named), *case.ways.values()]:
            module = location.partition(":")[0]
            files = [lookup.locate(module, folder) for folder in (first, suite)]
            if files[0] != files[1]:
                raise DeclarationError(
                    f"two cases are named {case.name!r}: {location!r} is in {files[0]} to the suite in {first}, and in "
                    f"{files[1]} to the suite in {suite}; ids join history, give one of the cases another name"
                )

    def _with_ways(self, case: Case, target: Target) -> list[Target]:
        """A target, behind eager's the case's own ways on the same device; raises ``DeclarationError``."""
        if target.backend != "eager":
            return [target]
        for way in case.ways:
            if self.backends.setdefault(way, Backend(way, WAYS)).module != WAYS:
                raise DeclarationError(f"case {case.name}: its way {way!r} bears the name of a backend; rename it")
        return [target, *(Target(target.device, way, target.dtype) for way in case.ways)]

    def plan(self, checked: Iterable[Cell], timed: Iterable[Cell], gated: Iterable[Cell] = ()) -> None:
        """What was selected, after ``-k``, ``--lf``, ``--deselect`` and their like; in the order of the run."""
        timed = list(timed)
        self.timed = {cell.id for cell in timed}
        self.gated = {cell.id: cell for cell in gated}
        for cell in dict.fromkeys([*checked, *timed, *self.gated.values()]):
            self.members.setdefault(cell.group, []).append(cell)
        groups = [str(group) for group, cells in self.members.items() if self._runnable(cells)]
        self.progress.plan([*groups, *(["gate"] if self.gated else [])])

    def unavailable(self, cell: Cell) -> str | None:
        """Why a cell cannot run here, as far as is known without opening it."""
        if reason := cell.case.reason(cell.case.skips, cell.target):
            return reason
        if cell.target not in self._reasons:
            self._reasons[cell.target] = targets.unavailable(cell.target, self.backends)
        backend = self.backends[cell.target.backend]
        if cell.case.mode != "inference" and not backend.differentiable:
            return f"{backend.name} runs no backward, which mode={cell.case.mode!r} needs"
        return self._reasons[cell.target]

    def checked(self, cell: Cell) -> Record:
        """The record of a cell after its check, opening its group if it is not open yet."""
        if cell.id not in self.records:
            self._open_group(cell.group)
        return self.records[cell.id]

    def measured(self, cell: Cell) -> Record:
        """The record of a cell after its group was timed."""
        record = self.checked(cell)
        if not self._measured and self._open is not None and self._open.group == cell.group:
            self._measured = True
            self.calibration = self._calibrated() if self.calibration is None else self.calibration
            self._open.time()
            for member in self._open.timed:
                self._emit_once(member.id)
        return record

    def compare_with(self, gate: Gate, arguments: list[str] | None) -> None:
        """Have the planned cells compared with another revision; ``arguments`` select the same cells there."""
        self.gate, self._arguments = gate, arguments

    def judged(self, cell: Cell) -> Record:
        """The record of a cell with its verdict; the first call runs the gate for all of them."""
        if self._gate_failed is not None:
            raise self._gate_failed
        if not self.records.get(cell.id, records.blank(cell)).verdict:
            try:
                self._run_gate()
            except Exception as error:
                self._gate_failed = error  # every cell fails by it; the whole is not begun again for each
                raise
        return self.records[cell.id]

    def _run_gate(self) -> None:
        from paritygate.gate import session  # numpy and scipy: only where a gate was asked for
        from paritygate.gate.sides import Result

        assert self.gate is not None
        self.close_group()
        main = self._get_laboratory()
        main.close()
        self.progress.start("gate")
        base, note = self.gate.cells_of_base(self._arguments)
        waiting = [cell for cell in self.gated.values() if self._may_be_gated(cell, base)]
        result = self.gate.run(waiting, main, self._server) if waiting else Result()
        for cell in waiting:
            self.records[cell.id] = self.gate.judged(cell, result)
        missing = self.gate.missing(base or (), (cell.id for cells in self.members.values() for cell in cells))
        self.comparison = session.summary(self.gate, result, missing, note)
        for cell in waiting:
            self._emit_once(cell.id)
        self.progress.finish("gate", [self.records[cell.id] for cell in waiting])

    def _may_be_gated(self, cell: Cell, base: Sequence[str] | None) -> bool:
        """Whether there is a speed to compare; the record says so where there is none."""
        if (reason := self.unavailable(cell)) is not None:
            self.records[cell.id] = records.skipped(cell, reason)
        record = self.records.setdefault(cell.id, records.blank(cell))
        if record.status is Status.OK and (base is None or cell.id in base):
            return True
        if record.status is Status.OK:
            record.verdict, record.verdict_reason = str(Verdict.NEW), "base has no such cell"
            self._emit_once(cell.id)
            return False
        failed = record.status not in (Status.SKIPPED, Status.UNCHECKED)
        record.verdict = str(Verdict.BROKEN if failed else Verdict.NOT_COMPARABLE)
        record.verdict_reason = f"head: {record.reason}"
        self._emitted.add(cell.id)
        self._emit(record)  # again: its check was told when it failed
        return False

    def close_group(self) -> None:
        """End the open group: its workers, its line of progress, and records not yet handed on."""
        if self._open is None:
            return
        group, self._open = self._open, None
        group.close()
        shutil.rmtree(group.folder, ignore_errors=True)
        known = [self.records[cell.id] for cell in self.members[group.group] if _known(self.records[cell.id])]
        for record in known:
            if record.cell not in self.gated:
                self._emit_once(record.cell)
        self.progress.finish(str(group.group), known)

    def close(self) -> None:
        """End everything; what was measured is kept."""
        try:
            self.close_group()
            for name in self.gated:  # interrupted before their verdict: what was checked is kept
                if name in self.records and _known(self.records[name]):
                    self._emit_once(name)
        finally:
            if self._laboratory is not None:
                self._laboratory.close()
                shutil.rmtree(self._laboratory.scratch, ignore_errors=True)
                self._laboratory = None
            if self.gate is not None:
                self.gate.close()
            self.progress.wipe()

    def kill(self) -> None:
        """End every process at once, before anything else is done (Ctrl-C)."""
        if self.gate is not None:
            self.gate.kill()
        if self._laboratory is not None:
            self._laboratory.close()

    def _runnable(self, cells: Iterable[Cell]) -> list[Cell]:
        return [cell for cell in cells if self.unavailable(cell) is None]

    def _open_group(self, group: Group) -> None:
        self.close_group()
        members = self.members[group]
        for cell in members:
            if reason := self.unavailable(cell):
                self.records[cell.id] = records.skipped(cell, reason)
                self._emit_once(cell.id)
        cells = self._runnable(members)
        if not cells:
            return
        self._measured = False
        self.progress.start(str(group))
        self._open = GroupRun(self._get_laboratory(), group, cells, [cell for cell in cells if cell.id in self.timed])
        self.records |= {cell.id: self._open.records[cell.id] for cell in cells}
        self._open.open()
        for cell in cells:
            later = cell.id in self.timed or cell.id in self.gated
            if not later or self.records[cell.id].status is not Status.OK:
                self._emit_once(cell.id)

    def _emit_once(self, cell_id: str) -> None:
        if cell_id not in self._emitted:
            self._emitted.add(cell_id)
            self._emit(self.records[cell_id])

    def _get_laboratory(self) -> Laboratory:
        if self._laboratory is None:
            home = self._home()
            cache = home / "cache"
            cache.mkdir(exist_ok=True)
            self._laboratory = Laboratory(
                cache=cache,
                scratch=_new_scratch(home / "scratch"),
                budget=self.budget,
                backends=self.backends,
                threads=machine.threads(),
                seed=self.seed,
                controlled=self.controlled,
                mutate=self.mutate,
                new_server=self._new_server,
                say=self.progress.say,
                tell=self.progress.tell,
                suites=self.homes,
            )
        return self._laboratory

    def _new_server(self, launch: int) -> ForkServer:
        """A fork server that has imported what the selected cells name, and nothing else."""
        assert self._laboratory is not None
        cells = self._runnable(cell for members in self.members.values() for cell in members)
        server = self._server(cells, self._laboratory.scratch / f"launch-{launch}", None, random.randrange(2**32))
        server.start()
        return server

    def _environment(self, hash_seed: int) -> dict[str, str]:
        """The environment of a measuring process."""
        assert self._laboratory is not None
        return laboratory.environment(
            os.environ, threads=self._laboratory.threads, cache=self._laboratory.cache, laboratory=self.controlled,
            hash_seed=hash_seed,
        )  # fmt: skip

    def _calibrated(self) -> dict[str, Any]:
        """What the machine's own kernels take now."""
        with timing_lock(self.progress.tell):
            return calibration.measure(self._environment(0), machine.threads())

    def _server(
        self, cells: Sequence[Cell], folder: Path, path: list[str] | None, hash_seed: int, python: str | None = None
    ) -> ForkServer:
        assert self._laboratory is not None
        available = machine.available_memory()
        limit = None if available is None else int(MEMORY_SHARE * available)
        return ForkServer(
            self._environment(hash_seed),
            folder,
            modules=list(dict.fromkeys(name for cell in cells for name in cell.case.preload)),
            backends=list(dict.fromkeys(self.backends[cell.target.backend].module for cell in cells)),
            memory=self.memory or limit,
            path=path,
            python=python or sys.executable,
            suites=self.suites,
            homes=[self.homes[cell.case.name] for cell in cells if cell.case.name in self.homes],
            places=self._places(path),
        )

    def _places(self, path: Sequence[str] | None) -> dict[str, Path]:
        """The entries of a side's slot, which stand first on its path -> the folders of the project for which."""
        of_slot = [entry for entry in path or () if entry not in sys.path]
        if self.gate is None or not of_slot:
            return {}
        slot = min(of_slot, key=len)  # the others are below it
        return {entry: self.gate.root.resolve() / Path(entry).relative_to(slot) for entry in of_slot}


def _known(record: Record) -> bool:
    """Whether something was found out; not so for a cell whose check was interrupted (Ctrl-C)."""
    return record.status is not Status.OK or record.error is not None


def _new_scratch(parent: Path) -> Path:
    """A folder of our own under ``scratch/``; those of runs that were killed are removed."""
    parent.mkdir(exist_ok=True)
    for old in filter(paths.abandoned, parent.iterdir()):
        shutil.rmtree(old, ignore_errors=True)
    folder = parent / paths.own_name()
    folder.mkdir()
    return folder


def new_run(root: Path, budget: Budget, controlled: bool, seed: int) -> Run:
    """A run that starts now, with the commit it is of and the machine it is on."""
    environment = machine.facts() | targets.gpu() | {"load_at_start": machine.load(), "started_at": time.time()}
    absent = {device: why for device in targets.DEVICE_DTYPES if (why := targets.absent(device))}
    status = git.said(root, "status", "--porcelain")
    return Run(
        id=str(uuid.uuid4()),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        budget=budget.name,
        laboratory=controlled,
        seed=seed,
        commit=git.said(root, "rev-parse", "HEAD"),
        branch=git.said(root, "symbolic-ref", "--short", "-q", "HEAD"),
        dirty=None if status is None else bool(status),
        environment=environment,
        absent=absent,
    )
