"""Fixtures that put groups of cells through real fork servers and workers; one server is shared by
all tests.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from paritygate.backends import BACKENDS, Backend
from paritygate.core.budgets import Budget
from paritygate.core.case import Case, Cell, Target
from paritygate.core.record import Record
from paritygate.process import environment
from paritygate.process.client import ForkServer
from paritygate.session.group import GroupRun
from paritygate.session.laboratory import Laboratory
from paritygate.session.matrix import VARIANTS
from tests.support import faulty

THREADS = 2
SHARED_CORES = {
    "OMP_WAIT_POLICY": "passive"
}  # tests run side by side: a thread that waits takes no core
MEMORY = 3 << 30  # bytes a worker may have
BUDGET = Budget(
    "test", seconds=0.1, precision=0.2, launches=1, open_deadline=120.0, cold_deadline=300.0
)
TABLE = BACKENDS | faulty.BACKENDS
# of a module that a test writes and rewrites: a model that is not in ``specimens``
SOURCE = """
import torch


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.out = torch.nn.Linear(16, 4)

    def forward(self, x):
        return self.out(x).relu()


def rows(sizes, generator):
    return (torch.randn(sizes["batch"], 16, generator=generator),)
"""


def new_server(folder: Path, cache: Path, **changes: Any) -> ForkServer:
    """A fork server of laboratory conditions, not yet started; ``changes`` are its arguments."""
    environ = environment.environment(os.environ, threads=THREADS, cache=cache, laboratory=True)
    environ |= SHARED_CORES
    arguments: dict[str, Any] = {"modules": [], "backends": [], "memory": MEMORY} | changes
    return ForkServer(environ, folder, **arguments)


class Always(dict[int, ForkServer]):
    """The same fork server for every launch, which outlives the laboratories that use it."""

    def __init__(self, server: ForkServer) -> None:
        super().__init__()
        self.server = server

    def __contains__(self, launch: object) -> bool:
        return True

    def __missing__(self, launch: int) -> ForkServer:
        return self.server


@dataclass
class Rig:
    """Runs groups on one fork server (launch 0; further launches get it too)."""

    folder: Path
    cache: Path
    server: ForkServer
    modules: Path
    made: list[GroupRun] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def group(
        self,
        case: Case,
        *backends: str,
        device: str = "cpu",
        dtype: str = "fp32",
        timed: bool = False,
        seed: int = 0,
        shape: str = "",
    ) -> GroupRun:
        """A group of the case's first shape, in a scratch folder of its own."""
        lab = Laboratory(
            cache=self.cache,
            scratch=self.folder / str(next(self.numbers)),
            budget=BUDGET,
            backends=TABLE
            | {variant: Backend(variant, VARIANTS, compiles=True) for variant in case.variants},
            threads=THREADS,
            seed=seed,
            controlled=True,
            servers=Always(self.server),
        )
        where = next(found for found in case.all_shapes() if found.name == (shape or found.name))
        cells = [Cell(case, where, Target(device, backend, dtype)) for backend in backends]
        run = GroupRun(lab, cells, cells if timed else [])
        self.made.append(run)
        return run

    def run(
        self, case: Case, *backends: str, timed: bool = False, **options: Any
    ) -> dict[str, Record]:
        """Open, check, time if asked for, close: backend -> record."""
        group = self.group(case, *backends, timed=timed, **options)
        group.open()
        if timed:
            group.time()
        group.close()
        return {record.backend: record for record in group.records.values()}

    def one(self, case: Case, backend: str = "eager", **options: Any) -> Record:
        """The record of a single cell."""
        return self.run(case, backend, **options)[backend]

    def module(self, name: str, source: str) -> None:
        """A module that workers can import, written or rewritten."""
        (self.modules / f"{name}.py").write_text(source)


def task_of(case: Case, folder: Path | str, **changes: Any) -> dict[str, Any]:
    """A worker's task: the case's first shape in eager on the CPU in float32, unless changed."""
    return {
        "case": case.as_dict(),
        "shape": case.all_shapes()[0].name,
        "device": "cpu",
        "dtype_name": "fp32",
        "backend": "eager",
        "folder": str(folder),
        "cache": str(folder),
        "seed": 0,
        "threads": 1,
        "laboratory": False,
    } | changes


def specimen(
    model: str = "Net", inputs: str = "rows", *, name: str = "specimen", **options: Any
) -> Case:
    """A case of ``tests.support.specimens``, with a batch of 8."""
    options.setdefault("shapes", {"b8": {"batch": 8}})
    return Case(
        name,
        model=f"tests.support.specimens:{model}",
        inputs=f"tests.support.specimens:{inputs}",
        **options,
    )


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The session's fork server with its caches, empty at first."""
    folder = tmp_path_factory.mktemp("rig")
    modules = folder / "modules"
    modules.mkdir()
    server = new_server(
        folder / "server",
        folder / "cache",
        modules=["transformers.models.bert.modeling_bert"],
        backends=[BACKENDS[name].module for name in ("eager", "compile", "onnxruntime")],
        path=[*sys.path, str(modules)],
    )
    (folder / "cache").mkdir()
    server.start()
    yield Rig(folder, folder / "cache", server, modules)
    server.close()


@pytest.fixture
def rig(shared: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A rig with scratch folders of the test's own; its workers end with the test. It waits for no
    other run.
    """
    monkeypatch.setattr("paritygate.session.opened.timing_lock", lambda _: nullcontext())
    made = Rig(tmp_path / "scratch", shared.cache, shared.server, shared.modules)
    yield made
    for group in made.made:
        group.close()
