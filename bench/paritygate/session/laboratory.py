"""Laboratory: the conditions, folders and fork servers that all groups of a run share."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paritygate.backends import Backend
from paritygate.core.budgets import Budget
from paritygate.core.case import Cell
from paritygate.host import machine, paths
from paritygate.host.lookup import Suites
from paritygate.process import environment
from paritygate.process.client import ForkServer
from paritygate.session.matrix import Matrix
from paritygate.session.progress import Progress

MEMORY_SHARE = 0.9  # of what is available, unless --bench-memory says otherwise


@dataclass(kw_only=True)
class Laboratory:
    """Conditions, folders and fork servers of one run. If two revisions are compared, each side has
    its own.

    A fork server imports only what the ``cells`` name at the moment it is started.
    """

    name: str = "launch"  # of the folders that fork servers get in scratch/
    cache: Path
    scratch: Path
    budget: Budget
    backends: Mapping[str, Backend]
    threads: int
    seed: int  # of weights and inputs
    controlled: bool  # --bench-lab on
    mutate: bool = False  # measure which weights the check would notice
    memory: int | None = None  # bytes a worker may allocate; None: a share of what is free
    cells: Callable[[], Sequence[Cell]] = tuple
    say: Callable[[str], object] = str  # shows the current work
    tell: Callable[[str], object] = str  # prints a line that stays
    suites: Suites = field(default_factory=Suites)  # of the session
    # case -> the folder of the suite file that declares it
    homes: Mapping[str, str] = field(default_factory=dict)
    path: list[str] | None = None  # sys.path of measuring processes; None: that of this process
    # entry of the path -> the folder that it stands for
    places: Mapping[str, Path] = field(default_factory=dict)
    watched: Sequence[str] = ()  # folders; workers note what they use of them
    python: str = sys.executable  # the interpreter of measuring processes
    hash_seed: int | None = None  # of the next fork server; None: drawn at random
    servers: dict[int, ForkServer] = field(default_factory=dict)

    def server(self, launch: int) -> ForkServer:
        """Return the fork server of a launch. Start it at the first call."""
        if launch not in self.servers:
            self.servers[launch] = self._start(self.scratch / f"{self.name}-{launch}")
        return self.servers[launch]

    def environment(self) -> dict[str, str]:
        """Return the environment of a measuring process."""
        return environment.environment(
            os.environ,
            threads=self.threads,
            cache=self.cache,
            laboratory=self.controlled,
            hash_seed=self.hash_seed,
        )

    def close(self) -> None:
        """End every measuring process."""
        for server in self.servers.values():
            server.close()
        self.servers.clear()

    def _start(self, folder: Path) -> ForkServer:
        cells = self.cells()
        available = machine.available_memory()
        server = ForkServer(
            self.environment(),
            folder,
            modules=list(dict.fromkeys(name for cell in cells for name in cell.case.preload)),
            backends=list(
                dict.fromkeys(self.backends[cell.target.backend].module for cell in cells)
            ),
            memory=self.memory or (None if available is None else int(MEMORY_SHARE * available)),
            path=self.path,
            python=self.python,
            suites=self.suites,
            homes=[self.homes[cell.case.name] for cell in cells if cell.case.name in self.homes],
            places=self.places,
            watched=self.watched,
        )
        server.start()
        return server


def made(
    home: Path,
    matrix: Matrix,
    cells: Callable[[], Sequence[Cell]],
    progress: Progress,
) -> Laboratory:
    """Return the laboratory of a session, with folders of its own in ``home``."""
    cache, options = home / "cache", matrix.options
    cache.mkdir(exist_ok=True)
    return Laboratory(
        cache=cache,
        scratch=_new_scratch(home / "scratch"),
        budget=options.budget,
        backends=matrix.backends,
        threads=machine.threads(),
        seed=options.seed,
        controlled=options.controlled,
        mutate=options.mutate,
        memory=options.memory,
        cells=cells,
        say=progress.say,
        tell=progress.tell,
        suites=matrix.suites,
        homes=matrix.homes,
    )


def _new_scratch(parent: Path) -> Path:
    """Make and return a new folder under ``scratch/``. Remove the folders of runs that were killed."""
    parent.mkdir(exist_ok=True)
    for old in filter(paths.abandoned, parent.iterdir()):
        shutil.rmtree(old, ignore_errors=True)
    folder = parent / paths.own_name()
    folder.mkdir()
    return folder
