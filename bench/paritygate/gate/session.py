"""The gate of one pytest session: the checkout of the other revision, the laboratories of both
sides, and a verdict for each cell.

Imported only with ``--bench-against``. The statistics need numpy and scipy, which collection must
not import.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from paritygate.core import work
from paritygate.core.case import Cell
from paritygate.core.record import Comparison, End, Record, Status, Verdict
from paritygate.core.work import Work
from paritygate.gate import acceptance, revisions
from paritygate.gate.acceptance import Accepted
from paritygate.gate.request import PROFILES, GateRequest, Margins
from paritygate.gate.revisions import RevisionError, Worktree
from paritygate.gate.runner import GateRun
from paritygate.gate.side_tree import CODE
from paritygate.gate.sides import InvalidRunError, Result, Side, Sides
from paritygate.gate.source_links import Slots
from paritygate.process.client import ForkServerError
from paritygate.session import records
from paritygate.session.laboratory import Laboratory
from paritygate.session.run import MatrixRun

DECIDING = ("gate", "timing", "process", "worker")  # the folders whose code decides verdicts
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
        for source in against.sources:
            self._check_place(source)
        self.worktree = Worktree(root, against.revision, folder)
        # with another interpreter base is the working tree, too: only the interpreter differs
        self._base = self.worktree.root if against.python is None else root
        try:
            self._check_sources()
            trailers = revisions.trailers(root, self.worktree.commit, "Bench-Accept")
            changed = _of_a_side(revisions.changed(root), against.sources)
        except BaseException:
            self.close()
            raise
        self._accepted, self._answers, self.unread = acceptance.parse(trailers)
        unchanged = self.worktree.commit == self.worktree.head and not changed
        self.same = unchanged and against.python is None

    def close(self) -> None:
        """Remove the checkout."""
        self.worktree.close()

    def kill(self) -> None:
        """End every process of a run that was interrupted."""
        if self._running is not None:
            self._running.close()

    def run(self, cells: Sequence[Cell], laboratory: Laboratory) -> Result:
        """Run the whole schedule for these cells. Everything that it started has ended afterwards."""
        trees = {"base": self._base, "head": self._root, "twin": self._base}
        # with the same code on both sides every cell is a control
        names = ["base", "head"] if self.same else ["base", "head", "twin"]
        sides = {}
        for name in names:
            other = self.against.python if name != "head" else None
            python = other or laboratory.python
            own = replace(laboratory, scratch=laboratory.scratch / name, servers={}, python=python)
            sides[name] = Side(trees[name], own)
        gate = GateRun(
            Sides(
                sides["base"],
                sides["head"],
                sides.get("twin"),
                Slots(laboratory.scratch / "slots", self._root, self.against.sources),
                random.Random(),
            ),
            cells=cells,
            margins=PROFILES[self.against.profile],
            limit=self.against.limit or LIMITS[laboratory.budget.name],
            planted=self.against.planted,
            accepted={
                cell.id: found.share
                for cell in cells
                if (found := acceptance.of(cell, self._accepted)) is not None
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

    def cells_of_base(
        self, arguments: Sequence[str] | None
    ) -> tuple[dict[str, Work | None] | None, str]:
        """Return (the cells that base collects with their work, None if they are not known; why
        they could not be collected, or "").

        ``arguments`` select in base's checkout the cells that were selected here. None: single
        items were named. The work of a cell is None if base's paritygate does not tell it.
        """
        if arguments is None or self.against.python is not None:
            return None, ""
        # with the gate's items, as here: -k then finds the same ones
        command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
        command += ["--bench-against", "HEAD", *arguments]
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "GIT_"))
        }
        path = [str(self.worktree.root), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(path)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "cells.json")
            environment[work.FILE] = str(file)
            try:
                done = subprocess.run(
                    command,
                    cwd=self.worktree.root,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=300,
                )
            except subprocess.TimeoutExpired:
                return None, "collecting base's cells took over 300 s"
            told = work.read(file)
        if done.returncode not in (0, 5):
            last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
            return (
                None,
                f"base's cells could not be collected, so new and missing cells are not known: {last}",
            )
        lines = [line for line in done.stdout.splitlines() if "::" in line]
        found = dict.fromkeys(line.partition("[")[2].rstrip("]") for line in lines)
        return {cell: told.get(cell) for cell in found if cell.count("-") == 4}, ""

    def judged(self, cell: Cell, result: Result) -> Record:
        """Return the cell's record with its verdict after acceptance."""
        accepted = acceptance.of(cell, self._accepted)
        record = self._records.get(cell.id)
        judged = gated(cell, record, result, accepted, PROFILES[self.against.profile])
        return with_answers(
            judged, result.answers.get(cell.id, ""), acceptance.answers_of(cell, self._answers)
        )

    def missing(self, base: Sequence[str], head: Iterable[str]) -> list[str]:
        """Return the cells of base that head lacks and has not declared as removed."""
        known = {*head, *self.against.removed}
        return [cell for cell in base if cell not in known]

    def _check_place(self, source: str) -> None:
        """Refuse a source that does not exist, and a source whose link would lie outside its slot
        or inside another source's link.
        """
        path = Path(source)
        if not (self._root / path).exists():
            raise RevisionError(
                f"bench_source: {source!r} is not in {self._root}; it names the code under test, one path in each line"
            )
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise RevisionError(
                f"bench_source: {source!r} must be a path below {self._root}, without .."
            )
        for other in map(Path, self.against.sources):
            if other in path.parents:
                raise RevisionError(
                    f"bench_source: {source!r} is in {str(other)!r}, which is named, too; leave it out"
                )

    def _check_sources(self) -> None:
        inside = revisions.submodules(self.worktree.path, self.worktree.commit)
        prefix = self._root.resolve().relative_to(self.worktree.repository.resolve())
        for source in self.against.sources:
            place = str(prefix / source)
            for module in inside:
                if (place + "/").startswith(module + "/") or (module + "/").startswith(place + "/"):
                    raise RevisionError(
                        f"bench_source: {source!r} touches the submodule {module!r}, which is empty in a worktree; run "
                        "the gate in the submodule's own repository"
                    )
            if not (self.worktree.root / source).exists():
                raise RevisionError(
                    f"--bench-against: {source!r} (ini bench_source) does not exist in {self.against.revision}"
                )


def _of_a_side(files: Iterable[str], sources: Sequence[str]) -> bool:
    """Return whether one of these files may differ between the sides: code only in a source."""
    return any(
        file.suffix not in CODE or any(file.is_relative_to(source) for source in sources)
        for file in map(PurePosixPath, files)
    )


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
        run.progress.start("gate")
        base, note = gate.cells_of_base(self._arguments)
        waiting = [cell for cell in run.plan.gated.values() if self._has_a_speed(cell, base)]
        result = gate.run(waiting, run.laboratory) if waiting else Result()
        judged = [gate.judged(cell, result) for cell in waiting]
        missing = gate.missing(list(base or ()), (cell.id for cell in run.plan.cells))
        self.summary = summary(gate, result, missing, note)
        for record in judged:
            run.emit(record)
        run.progress.finish("gate", judged)

    def _has_a_speed(self, cell: Cell, base: Mapping[str, Work | None] | None) -> bool:
        """Return whether the cell has a speed to compare. If not, emit its record with the reason."""
        record = self._run.records.get(cell.id) or records.unchecked_here(cell)
        if (reason := self._run.matrix.unavailable(cell)) is not None:
            record = records.skipped(cell, reason)
        if record.status is Status.OK:
            if not (why := _new(cell, base)):
                return True
            self._run.emit(record.joined(Comparison(str(Verdict.NEW), why)))
            return False
        failed = record.status not in (Status.SKIPPED, Status.UNCHECKED)
        verdict = Verdict.BROKEN if failed else Verdict.NOT_COMPARABLE
        compared = Comparison(str(verdict), f"head: {record.reason}")
        self._run.emit(record.joined(compared), again=True)  # it was emitted when its check failed
        return False


def _new(cell: Cell, base: Mapping[str, Work | None] | None) -> str:
    """Return why base has no cell to compare with, or "" if it has one or is not known."""
    if base is None:
        return ""
    if cell.id not in base:
        return "base has no such cell"
    before = base[cell.id]
    changed = "" if before is None else work.difference(before, work.work(cell))
    return f"base has other work under this name: {changed}" if changed else ""


def gated(
    cell: Cell, record: Record | None, result: Result, accepted: Accepted | None, margins: Margins
) -> Record:
    """Return the cell's record with head's times of all launches and its verdict."""
    record = record or records.unchecked_here(cell)
    pairs = [measured for launch in result.launches for name, measured in launch if name == cell.id]
    if pairs and record.status is Status.OK:
        blocks = [measured.head for measured in pairs]
        record = record.joined(records.speed_of_pairs(cell, blocks, pairs[0].calls))
    found = result.findings.get(cell.id, [])
    if (broken := result.broken.get(cell.id)) is not None:
        verdict = Verdict.BROKEN if broken.side else Verdict.NOT_COMPARABLE
        reason = f"{broken.side}: {broken.reason}" if broken.side else broken.reason
        if broken.side == "head" and record.status is Status.OK:
            record = records.ended(cell, End(broken.status, broken.reason), record)
        return record.joined(Comparison(str(verdict), reason, findings=found))
    decided = result.decided.get(cell.id)
    if decided is None:
        late = "the time was up before its first launch pair; give a longer --bench-limit"
        reason = result.invalid[0] if result.invalid else late
        return record.joined(Comparison(str(Verdict.INCONCLUSIVE), reason, findings=found))
    decided = acceptance.judge(decided, result.d[cell.id], accepted, margins)
    verdict, reason = decided.verdict, decided.reason
    # in an invalid run no cell is red and no cell is improved
    if result.invalid and verdict is not Verdict.SAME:
        verdict, reason = Verdict.INCONCLUSIVE, f"the run is invalid: {result.invalid[0]}"
    estimate = decided.estimate
    compared = Comparison(
        str(verdict),
        reason,
        effect=estimate.effect,
        effect_low=estimate.low,
        effect_high=estimate.high,
        effect_sd=estimate.sd,
        detectable=decided.detectable if math.isfinite(decided.detectable) else None,
        findings=found,
    )
    return record.joined(compared, launches=estimate.launches)


def with_answers(record: Record, changed: str, accepted: str) -> Record:
    """Return a judged record, with the verdict *answers changed* if head's answers are others.

    ``changed``: why they are, or "". ``accepted``: the reason for which they may be, or "".
    """
    if not changed or record.verdict in (Verdict.BROKEN, Verdict.NOT_COMPARABLE):
        return record
    if accepted:
        return replace(record, findings=[*record.findings, f"answers: accepted: {accepted}"])
    also = "" if record.verdict == Verdict.SAME else f"; its time: {record.verdict}"
    reason = f"wrong by base's own reference answers: {changed}{also}"
    return replace(record, verdict=str(Verdict.ANSWERS_CHANGED), verdict_reason=reason)


def summary(gate: Gate, result: Result, missing: Sequence[str], note: str) -> dict[str, Any]:
    """Return the facts of the gate's run as a whole, for the run's environment."""
    return {
        "against": gate.against.name,
        "commit": gate.worktree.commit,
        "profile": gate.against.profile,
        "invalid": result.invalid,
        "missing": list(missing),
        "warnings": [*result.warnings, *gate.unread, *filter(None, [note])],
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
