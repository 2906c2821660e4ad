"""What the cells of one group share in one laboratory: the folder that a reference worker fills, and
how workers are asked.
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
    """The reference of the group of ``cell`` in one laboratory; every worker of the group reads its
    folder. ``folder``: that of another laboratory, which makes it.

    ``made`` is what the reference worker has answered: the facts that all cells of the group share,
    the user's modules that it imported, what it exported.
    """

    def __init__(self, laboratory: Laboratory, cell: Cell, folder: Path | None = None) -> None:
        self.laboratory, self.group = laboratory, cell.group
        self.case, self.shape = cell.case, cell.shape
        self.folder = folder or laboratory.scratch / str(cell.group)
        self.made = NOTHING

    def make(self, backends: list[str], launch: int, given: Path | None = None) -> Reference:
        """Fill the folder, with inputs and weights of its own or those of the folder ``given``, and
        with what these backends load. Raises ``WorkerError``.
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
        """Return what a worker of this group really got; see ``paritygate.worker.server``."""
        worker = self.fork("", 0)
        try:
            return self.ask(worker, AskConditions(), cold=False)
        finally:
            worker.close()

    def fork(self, backend: str, launch: int) -> Worker:
        """Return a fresh worker for a backend, or for the reference where that is ""."""
        return self.laboratory.server(launch).fork(self.task(backend))

    def task(self, backend: str) -> dict[str, Any]:
        """What a worker is told when it is forked."""
        lab = self.laboratory
        return {
            "case": self.case.as_dict(),
            "shape": self.shape.name,
            "device": self.group.device,
            "dtype_name": self.group.dtype,
            "backend": backend,
            "folder": str(self.folder),
            "cache": str(lab.cache),
            "seed": lab.seed,
            "threads": lab.threads,
            "laboratory": lab.controlled,
            "suite": lab.homes.get(self.case.name, ""),
        }

    def ask(self, worker: Worker, request: Request[A], cold: bool) -> A:
        """Return a worker's answer: within the case's deadline, or else within the budget's and what
        the worker asks for. Raises ``WorkerError``.
        """
        budget, declared = self.laboratory.budget, self.case.deadline
        seconds = declared or (budget.cold_deadline if cold else budget.open_deadline)
        return worker.ask(request, seconds, self.say, declared=bool(declared))

    def say(self, what: str) -> None:
        """Tell what is being done right now."""
        self.laboratory.say(f"{self.case.name} {self.shape.name}: {what}")
