"""Matrix: the cells of a session, from declarations to records; lives in ``config.stash``.

Holds what outlives a single item: which cells there are, which are selected, the group that is
open. Items come group by group (the plugin orders them), so one group is open at a time.
"""

from __future__ import annotations

import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paritygate.backends import Backend
from paritygate.core.budgets import Budget
from paritygate.core.case import LOCATIONS, Case, Cell, DeclarationError, Group, Target, cell_of
from paritygate.core.devices import DEVICE_KINDS
from paritygate.core.record import Record, Run, Status
from paritygate.host import calibration, git, machine, paths
from paritygate.host.lock import timing_lock
from paritygate.host.lookup import Lookup, Suites
from paritygate.session import records, targets
from paritygate.session.group import GroupRun
from paritygate.session.laboratory import Laboratory
from paritygate.session.progress import Progress

VARIANTS = "paritygate.backends.variants"


class Matrix:
    """The cells of one session. ``emit`` is called with each record as soon as all of it is
    known.
    """

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
        # case -> the folder of the suite file that declares it first
        self.homes: dict[str, str] = {}
        self.cases: dict[str, Case] = {}
        self.records: dict[str, Record] = {}
        self.members: dict[Group, list[Cell]] = {}
        self.timed: set[str] = set()
        self._emitted: set[str] = set()
        self._open: GroupRun | None = None
        self._measured = False
        self._laboratory: Laboratory | None = None
        self._reasons: dict[Target, str | None] = {}
        self.gated: dict[str, Cell] = {}  # those that get a verdict beside their check, by the gate
        self.calibration: dict[str, Any] | None = None  # kernel -> seconds, once something is timed

    def cells(self, cases: Iterable[Case], timed: bool, suite: Path | None = None) -> list[Cell]:
        """The cells of some cases within budget and targets; with ``timed`` only those that have a
        speed.

        Beside a timed one, shapes for parity only are compiled from the normal budget up: it takes
        seconds each.
        ``suite``: the folder of the suite file. Raises ``DeclarationError`` when two different
        cases bear one name.
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
            wanted = [
                target for chosen in self.chosen for target in self._with_variants(case, chosen)
            ]
            shapes = self.budget.shapes(case)
            beside = self.budget.name == "quick" and any(shape.timed for shape in shapes)
            for shape in shapes:
                for target in wanted:
                    slow = self.backends[target.backend].slow_to_open
                    left_out = beside and slow and not shape.timed
                    cell = (
                        None
                        if left_out or (timed and not shape.timed)
                        else cell_of(case, shape, target)
                    )
                    if cell is not None:
                        found.append(cell)
        return found

    def _where(self, case: Case, suite: Path | None) -> str:
        """In which suites' folders two cases of one name are, where these are two."""
        first = self.homes.get(case.name)
        return (
            ""
            if first is None or suite is None or first == str(suite)
            else f" (in {first} and in {suite})"
        )

    def _refuse_other_files(self, case: Case, suite: str) -> None:
        """Raise ``DeclarationError`` where a case of another suite, declared alike, is another one:
        by its files.
        """
        first, lookup = self.homes[case.name], Lookup(self.suites, sys.path)
        named = [getattr(case, what) for what in LOCATIONS]
        for location in [*filter(None, named), *case.variants.values()]:
            module = location.partition(":")[0]
            files = [lookup.locate(module, folder) for folder in (first, suite)]
            if files[0] != files[1]:
                raise DeclarationError(
                    f"two cases are named {case.name!r}: {location!r} is in {files[0]} to the suite in {first}, and in "
                    f"{files[1]} to the suite in {suite}; ids join history, give one of the cases another name"
                )

    def _with_variants(self, case: Case, target: Target) -> list[Target]:
        """A target, behind eager's the case's own variants on the same device; raises
        ``DeclarationError``.
        """
        if target.backend != "eager":
            return [target]
        for variant in case.variants:
            if (
                self.backends.setdefault(variant, Backend(variant, VARIANTS, compiles=True)).module
                != VARIANTS
            ):
                raise DeclarationError(
                    f"case {case.name}: its variant {variant!r} bears the name of a backend; rename it"
                )
        return [
            target,
            *(Target(target.device, variant, target.dtype) for variant in case.variants),
        ]

    def plan(
        self, checked: Iterable[Cell], timed: Iterable[Cell], gated: Iterable[Cell] = ()
    ) -> None:
        """What was selected, after ``-k``, ``--lf``, ``--deselect`` and their like; in the order of
        the run.
        """
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
        self.checked(cell)
        if not self._measured and self._open is not None and self._open.group == cell.group:
            self._measured = True
            self.calibration = self._calibrated() if self.calibration is None else self.calibration
            self._open.time()
            self._note(self._open)
            for member in self._open.timed:
                self.emit(member.id)
        return self.records[cell.id]

    def _note(self, group: GroupRun) -> None:
        """Keep what is known of the group's cells; eager may be among them unreported."""
        members = self.members[group.group]
        self.records |= {c.id: group.records[c.id] for c in members if c.id in group.records}

    def emit(self, cell_id: str, again: bool = False) -> None:
        """Hand the record of a cell on, unless that was done; ``again``: in any case."""
        if again or cell_id not in self._emitted:
            self._emitted.add(cell_id)
            self._emit(self.records[cell_id])

    def close_group(self) -> None:
        """End the open group: its workers, its line of progress, and records not yet handed on."""
        if self._open is None:
            return
        group, self._open = self._open, None
        group.close()
        shutil.rmtree(group.reference.folder, ignore_errors=True)
        self._note(group)  # it may have been interrupted
        members = self.members[group.group]
        known = [self.records[cell.id] for cell in members if cell.id in self.records]
        for record in known:
            if record.cell not in self.gated:
                self.emit(record.cell)
        self.progress.finish(str(group.group), known)

    def close(self) -> None:
        """End everything; what was measured is kept."""
        try:
            self.close_group()
            for name in self.gated:  # interrupted before their verdict: what was checked is kept
                if name in self.records:
                    self.emit(name)
        finally:
            if self._laboratory is not None:
                self._laboratory.close()
                shutil.rmtree(self._laboratory.scratch, ignore_errors=True)
                self._laboratory = None
            self.progress.wipe()

    def kill(self) -> None:
        """End every process at once, before anything else is done (Ctrl-C)."""
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
                self.emit(cell.id)
        cells = self._runnable(members)
        if not cells:
            return
        self._measured = False
        self.progress.start(str(group))
        timed = [cell for cell in cells if cell.id in self.timed]
        self._open = GroupRun(self.laboratory, cells, timed)
        self._open.open()
        self._note(self._open)
        for cell in cells:
            later = cell.id in self.timed or cell.id in self.gated
            if not later or self.records[cell.id].status is not Status.OK:
                self.emit(cell.id)

    @property
    def laboratory(self) -> Laboratory:
        """What all groups share, made when first asked for; its fork servers import for every
        selected cell.
        """
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
                memory=self.memory,
                cells=lambda: self._runnable(
                    cell for members in self.members.values() for cell in members
                ),
                say=self.progress.say,
                tell=self.progress.tell,
                suites=self.suites,
                homes=self.homes,
            )
        return self._laboratory

    def _calibrated(self) -> dict[str, Any]:
        """What the machine's own kernels take now."""
        with timing_lock(self.progress.tell):
            return calibration.measure(
                replace(self.laboratory, hash_seed=0).environment(), machine.threads()
            )


def _new_scratch(parent: Path) -> Path:
    """A folder of our own under ``scratch/``; those of runs that were killed are removed."""
    parent.mkdir(exist_ok=True)
    for old in filter(paths.abandoned, parent.iterdir()):
        shutil.rmtree(old, ignore_errors=True)
    folder = parent / paths.own_name()
    folder.mkdir()
    return folder


def new_run(
    root: Path, budget: Budget, controlled: bool, seed: int, id: str = "", started: str = ""
) -> Run:
    """A run with its commit and its machine. It starts now, unless ``id`` and ``started`` are
    given.
    """
    environment = (
        machine.facts()
        | targets.gpu()
        | {"load_at_start": machine.load(), "started_at": time.time()}
    )
    absent = {device: why for device in DEVICE_KINDS if (why := targets.absent(device))}
    status = git.said(root, "status", "--porcelain")
    return Run(
        id=id or str(uuid.uuid4()),
        started=started or datetime.now(UTC).isoformat(timespec="seconds"),
        budget=budget.name,
        laboratory=controlled,
        seed=seed,
        commit=git.said(root, "rev-parse", "HEAD"),
        branch=git.said(root, "symbolic-ref", "--short", "-q", "HEAD"),
        dirty=None if status is None else bool(status),
        environment=environment,
        absent=absent,
    )
