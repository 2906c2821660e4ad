"""The gate of one pytest session: the checkout of the other revision, the laboratories of both
sides, and a verdict for each cell.

Imported only with ``--bench-against``. The statistics need numpy and scipy, which collection must
not import.
"""

from __future__ import annotations

import hashlib
import random
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from paritygate.core.case import Cell
from paritygate.core.record import Comparison, Record, Status, Verdict
from paritygate.core.work import Work
from paritygate.gate import acceptance, base_cells, revisions, source_checks
from paritygate.gate.build import BuildError
from paritygate.gate.built_sides import BuiltSides
from paritygate.gate.findings import Changes
from paritygate.gate.judged import gated, with_answers, with_kept, with_memory, with_prepare
from paritygate.gate.request import PROFILES, GateRequest
from paritygate.gate.revisions import Worktree
from paritygate.gate.runner import GateRun
from paritygate.gate.side_tree import may_differ
from paritygate.gate.sides import Broken, InvalidRunError, Result, Side, Sides
from paritygate.gate.source_links import Slots
from paritygate.gate.unchanged import Unchanged
from paritygate.process.client import ForkServerError
from paritygate.session import records
from paritygate.session.laboratory import Laboratory
from paritygate.session.opened import OpenedCell
from paritygate.session.run import MatrixRun

DECIDING = ("gate", "timing", "process", "worker")  # the folders whose code decides verdicts
CLOSURES = Path("cache", "closures")  # in the folder of paritygate's files
LIMITS = {"quick": 20 * 60.0, "normal": 60 * 60.0, "long": 4 * 60 * 60.0}  # seconds, by budget


class Gate:
    """Base and head of one session.

    The constructor raises ``RevisionError`` if base cannot be checked out or a source cannot be
    used.
    """

    def __init__(self, root: Path, against: GateRequest, folder: Path) -> None:
        self.against, self._root = against, root
        self._running: GateRun | None = None
        self._records: dict[str, Record] = {}  # head's, by cell
        source_checks.check_places(root, against.sources)
        if against.build is None and against.python is None:
            source_checks.check_compiled(root, against.sources)
        self.worktree = Worktree(root, against.revision, folder)
        # with another interpreter base is the working tree, too: only the interpreter differs
        self._base = self.worktree.root if against.python is None else root
        try:
            source_checks.check_base(root, self.worktree, against.sources, against.revision)
            trailers = revisions.trailers(root, self.worktree.commit, "Bench-Accept")
            if against.build is None:
                changed = may_differ(revisions.changed(root), against.sources)
            else:  # a build may read any file
                changed = bool(revisions.changed(self.worktree.repository))
        except BaseException:
            self.close()
            raise
        self.accepted = acceptance.parse(trailers)
        equal = self.worktree.commit == self.worktree.head and not changed
        self._same = equal and against.python is None
        self._unchanged: Unchanged | None = None
        self._built: BuiltSides | None = None
        self._slots: Slots | None = None
        self.unbuilt: dict[str, BuildError] = {}  # side -> why it could not be built
        self.identical: dict[str, str] = {}  # cell -> why it is the same without a launch

    def prepare(self, run: MatrixRun, home: Path) -> None:
        """Find the cells whose code and data are identical on both sides, and build the sides for the
        others. If the trees are equal, every cell is measured.

        Raises ``RevisionError`` and ``OSError``. If a build fails, ``unbuilt`` says why.
        """
        cells, budget = list(run.plan.gated.values()), run.matrix.options.budget.name
        build = self.against.build is not None
        if self.against.python is None:
            sources, folder = self.against.sources, home / CLOSURES
            self._unchanged = Unchanged(
                self._root, self.worktree, sources, folder, budget, built=build
            )
            self._find_identical(cells)
        left = run.matrix.runnable(run.plan.without(self.identical).cells)
        if not build or not left:
            return
        self._built = BuiltSides(self._root, self.worktree, self.against, home, sys.executable)
        # cells without a verdict are checked on head
        self._built.build(run.progress.tell, both=len(self.identical) < len(cells))
        self.unbuilt = self._built.failed
        if self._built.equal and self._unchanged is not None:
            self._unchanged.builds_are_equal()
            self._find_identical(cells)

    def _find_identical(self, cells: Sequence[Cell]) -> None:
        assert self._unchanged is not None
        found, planted = self._unchanged.find(cells), self.against.planted
        if not self._same and not self.against.everything:
            self.identical = {cell: why for cell, why in found.items() if cell not in planted}

    def enter(self, run: MatrixRun) -> None:
        """Let the checks of a run import head as it was built, if it was."""
        if self._built is not None:
            slots = self._slots_in(run.laboratory)
            (slot,) = slots.fill([0], [self._built.head])
            run.laboratory.path, run.laboratory.places = slots.path(slot), slots.stands_for(slot)

    def _slots_in(self, laboratory: Laboratory) -> Slots:
        if self._slots is None:
            built = self._built.listings() if self._built is not None else None
            parent = laboratory.scratch / "slots"
            self._slots = Slots(parent, self._root, self.against.sources, built)
        return self._slots

    def close(self) -> None:
        """Remove the checkout and the copies."""
        if self._built is not None:
            self._built.close()
        self.worktree.close()

    def kill(self) -> None:
        """End every process of a run that was interrupted."""
        if self._running is not None:
            self._running.close()

    def run(
        self, cells: Sequence[Cell], laboratory: Laboratory, identical: Sequence[Cell] = ()
    ) -> Result:
        """Run the whole schedule for these cells. Everything that it started has ended afterwards.

        ``identical``: cells with the same code and data on both sides, from which controls are
        drawn.
        """
        if (failed := self.unbuilt.get("base")) is not None:
            broken = Broken("base", Status.FAILED, failed.reason)
            return Result(broken=dict.fromkeys((cell.id for cell in cells), broken))
        trees = {"base": self._base, "head": self._root}
        checkouts = {"base": [self.worktree.path], "head": [self.worktree.repository]}
        if self._built is not None:
            trees = {"base": self._built.base, "head": self._built.head}
            checkouts["head"].append(self._built.checkout)
        # with the same code on both sides every cell is a control
        names = ["base", "head"] if self._same or identical else ["base", "head", "twin"]
        sides = {}
        for name in names:
            other = self.against.python if name != "head" else None
            python = other or laboratory.python
            own = replace(laboratory, scratch=laboratory.scratch / name, servers={}, python=python)
            revision = "base" if name == "twin" else name
            sides[name] = Side(trees[revision], own, checkouts[revision])
        slots = self._slots_in(laboratory)
        gate = GateRun(
            Sides(sides["base"], sides["head"], sides.get("twin"), slots, random.Random()),
            cells=cells,
            identical=identical,
            margins=PROFILES[self.against.profile],
            limit=self.against.limit or LIMITS[laboratory.budget.name],
            planted=self.against.planted,
            accepted={
                cell.id: found.share
                for cell in cells
                if (found := acceptance.slowdown_of(cell, self.accepted.slowdowns)) is not None
            },
            say=laboratory.say,
            tell=laboratory.tell,
        )
        self._running = gate
        try:
            return gate.run()
        except (InvalidRunError, ForkServerError) as error:
            gate.result.invalid.append(str(error))
            return gate.result
        finally:
            opened = sides["head"].cells
            self._records = {name: cell.record for name, cell in opened.items() if cell.record}
            for name in gate.result.decided:
                self._keep(opened[name], slots.places_shown(sides["head"].slot))

    def _keep(self, opened: OpenedCell, places: Mapping[str, str]) -> None:
        """Keep what head's processes have used for a cell, if it is ok. Without it the next run
        measures the cell, so no error here may end this run.
        """
        if self._unchanged is None or not opened.ok:
            return
        with suppress(OSError, ValueError):
            notes = map(opened.reference.notes, ("", opened.cell.target.backend))
            checkouts = [] if self._built is None else [self._built.checkout]
            self._unchanged.keep(opened.cell, notes, places, checkouts)

    def cells_of_base(
        self, arguments: Sequence[str] | None
    ) -> tuple[dict[str, Work | None] | None, str]:
        """Return what ``base_cells.collect`` returns. It is (None, "") if ``arguments`` is None
        (single items were named), with another interpreter, and if only documents differ.
        """
        if arguments is None or self._unchanged is None or not self._unchanged.code_differs:
            return None, ""
        return base_cells.collect(self.worktree.root, arguments)

    def judged(self, cell: Cell, result: Result, checked: Record | None = None) -> Record:
        """Return the cell's record with its verdict after acceptance. ``checked``: its record so far,
        which is kept if the gate has opened no worker of it.
        """
        if (reason := self.identical.get(cell.id)) is not None:
            same = Comparison(str(Verdict.SAME), reason)
            return records.unchecked_here(cell).joined(same, facts={"identical": True})
        accepted, margins = self.accepted, PROFILES[self.against.profile]
        slowdown = acceptance.slowdown_of(cell, accepted.slowdowns)
        record = self._records.get(cell.id, checked)
        judged = gated(cell, record, result, slowdown, margins)
        certain = result.certain.get(cell.id, Changes())
        # before the others: its reason names the verdict on time
        judged = with_answers(
            judged, certain.answers, acceptance.answers_of(cell, accepted.answers)
        )
        if not result.invalid:
            share = margins.memory if cell.case.memory is None else cell.case.memory
            growth = acceptance.largest(cell, accepted.memory)
            judged = with_memory(judged, result.peaks.get(cell.id, ()), share, growth)
            longer = acceptance.largest(cell, accepted.prepare)
            judged = with_prepare(judged, result.prepared, margins, longer)
        return with_kept(judged, certain.kept)


class Verdicts:
    """The verdicts of one session's cells. The first request runs the gate for all of them.

    ``arguments`` select in base's checkout the cells that were selected here. None: this is not
    possible.
    """

    def __init__(self, gate: Gate, run: MatrixRun, arguments: list[str] | None) -> None:
        self.gate, self._run, self._arguments = gate, run, arguments
        self.summary: dict[str, Any] = {}  # of the gate's run, empty until it has run
        self._failed: Exception | None = None

    def of(self, cell: Cell) -> Record:
        """Return the record of a cell with its verdict."""
        if self._failed is not None:
            raise self._failed
        records_of = self._run.records
        if cell.id not in records_of or not records_of[cell.id].verdict:
            try:
                self._judge_all()
            except Exception as error:
                # every cell fails with this error; the gate is not started again for each
                self._failed = error
                raise
        return records_of[cell.id]

    def _judge_all(self) -> None:
        run, gate = self._run, self.gate
        run.close_group()
        run.laboratory.close()
        gated = run.plan.gated.values()
        identical = [cell for cell in gated if cell.id in gate.identical]
        changed = [cell for cell in gated if cell.id not in gate.identical]
        if changed:
            run.progress.start("gate")
        base, note = gate.cells_of_base(self._arguments)
        waiting = [cell for cell in changed if self._has_a_speed(cell, base)]
        result = gate.run(waiting, run.laboratory, identical) if waiting else Result()
        judged = [
            gate.judged(cell, result, run.records.get(cell.id)) for cell in (*waiting, *identical)
        ]
        here = {cell.id for cell in (*run.plan.cells, *gated)}
        known = {*here, *gate.against.removed}
        missing = [cell for cell in base or () if cell not in known]
        self.summary = summary(gate, result, missing, note)
        for record in judged:
            run.emit(record)
        if changed:
            run.progress.finish("gate", judged)

    def _has_a_speed(self, cell: Cell, base: Mapping[str, Work | None] | None) -> bool:
        """Return whether the cell has a speed to compare. If not, emit its record with the reason."""
        record = self._run.records.get(cell.id) or records.unchecked_here(cell)
        if (reason := self._run.matrix.unavailable(cell)) is not None:
            record = records.skipped(cell, reason)
        if record.status is Status.OK:
            if not (why := base_cells.why_new(cell, base)):
                return True
            self._run.emit(record.joined(Comparison(str(Verdict.NEW), why)))
            return False
        failed = record.status not in (Status.SKIPPED, Status.UNCHECKED)
        verdict = Verdict.BROKEN if failed else Verdict.NOT_COMPARABLE
        compared = Comparison(str(verdict), f"head: {record.reason}")
        self._run.emit(record.joined(compared), again=True)  # it was emitted when its check failed
        return False


def summary(gate: Gate, result: Result, missing: Sequence[str], note: str) -> dict[str, Any]:
    """Return the facts of the gate's run as a whole, for the run's environment."""
    return {
        "against": gate.against.name,
        "commit": gate.worktree.commit,
        "profile": gate.against.profile,
        "invalid": result.invalid,
        "missing": list(missing),
        "warnings": [
            *result.warnings,
            *gate.accepted.unread,
            *(error.reason for error in gate.unbuilt.values()),
            *filter(None, [note]),
        ],
        "controls": {name: str(decided.verdict) for name, decided in result.controls.items()},
        "replaced": result.replaced,
        "launches": len(result.launches),
        "planted": gate.against.planted,
        "code": code_digest(),
        "seconds": {what: round(seconds, 1) for what, seconds in result.seconds.items()},
        "cost": {cell: round(seconds, 2) for cell, seconds in result.cost.items()},
    }


def code_digest() -> str:
    """Return a digest of the code that decides verdicts. Evidence that was made with other code is
    stale.
    """
    harness = Path(__file__).parents[1]
    files = sorted(path for folder in DECIDING for path in (harness / folder).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
