"""GroupReference: the reference that the cells of one group share in one laboratory. It is a folder
that a reference worker fills, and the way to ask workers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paritygate.core.case import Cell
from paritygate.process.client import Worker
from paritygate.process.protocol import (
    A,
    AskConditions,
    Conditions,
    MakeReference,
    Reference,
    Request,
)
from paritygate.session.laboratory import Laboratory

NOTHING = Reference(facts={}, unchecked="", artefacts={}, sources={}, weights="")


class GroupReference:
    """The reference of the group of ``cell`` in one laboratory. Every worker of the group reads its
    folder.

    ``folder``: use this folder, which another laboratory fills. ``made``: the answer of the
    reference worker. It holds the facts that all cells of the group share, the user's modules that
    it imported, and the artefacts that it exported.
    """

    def __init__(self, laboratory: Laboratory, cell: Cell, folder: Path | None = None) -> None:
        self.laboratory, self.group = laboratory, cell.group
        self._case, self._shape = cell.case, cell.shape
        self.folder = folder or laboratory.scratch / str(cell.group)
        self.made = NOTHING

    def make(self, backends: list[str], launch: int, given: Path | None = None) -> Reference:
        """Fill the folder with inputs and weights, new ones or those of the folder ``given``, and
        with the artefacts of these backends. Raises ``WorkerError``.
        """
        table = self.laboratory.backends
        exported = {name: table[name].module for name in backends if table[name].artefact}
        given_folder = None if given is None else str(given)
        worker = self.fork("", launch)
        try:
            request = MakeReference(exported, given_folder, self.laboratory.mutate)
            self.made = self.ask(worker, request, cold=bool(exported))
        finally:
            worker.close()
        return self.made

    def conditions(self) -> Conditions:
        """Return the conditions of a worker of this group; see ``paritygate.worker.server``."""
        worker = self.fork("", 0)
        try:
            return self.ask(worker, AskConditions(), cold=False)
        finally:
            worker.close()

    def fork(self, backend: str, launch: int) -> Worker:
        """Return a fresh worker for a backend, or for the reference if ``backend`` is ""."""
        return self.laboratory.server(launch).fork(self.task(backend))

    def task(self, backend: str) -> dict[str, Any]:
        """Return the task of a worker, for its fork."""
        lab = self.laboratory
        return {
            "case": self._case.as_dict(),
            "shape": self._shape.name,
            "device": self.group.device,
            "dtype_name": self.group.dtype,
            "backend": backend,
            "folder": str(self.folder),
            "used": str(self.notes(backend)) if lab.watched else "",
            "cache": str(lab.cache),
            "seed": lab.seed,
            "threads": lab.threads,
            "laboratory": lab.controlled,
            "suite": lab.homes.get(self._case.name, ""),
        }

    def notes(self, backend: str) -> Path:
        """Return the file in which the workers of a backend note the files that they use."""
        return self.folder / f"{backend or 'reference'}.used"

    def ask(self, worker: Worker, request: Request[A], cold: bool) -> A:
        """Return a worker's answer. The deadline is the case's, or else the budget's plus the time that
        the worker asks for. Raises ``WorkerError``.
        """
        budget, declared = self.laboratory.budget, self._case.deadline
        seconds = declared or (budget.cold_deadline if cold else budget.open_deadline)
        return worker.ask(request, seconds, self.say, declared=bool(declared))

    def say(self, what: str) -> None:
        """Show the current work."""
        self.laboratory.say(f"{self._case.name} {self._shape.name}: {what}")
