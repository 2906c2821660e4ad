"""The ``project`` fixture: a user's own project in another folder, run by a real pytest with real
workers.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from paritygate_reports.store.store import (
    Store,  # here: pytester forgets what a test imports, which sqlalchemy does not survive
)
from tests.support.paths import ROOT

EAGER = "cpu-eager-fp32"  # the quickest target there is

CONFTEST = 'pytest_plugins = ["paritygate.plugin", "paritygate_reports.plugin"]\n'
# of a project whose models use tests.support.clock
PLAYED = (
    CONFTEST
    + """
from paritygate.process import timed_worker

timed_worker.clock_problem = lambda found, seconds: ""
"""
)
MODEL = """
    import torch


    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))

        def forward(self, x):  # (batch, 16) -> (batch, 4)
            return self.layers(x)


    def inputs(sizes, generator):
        return (torch.randn(sizes["batch"], 16, generator=generator),)
"""
CASES = """
    CASES = (
        Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),
        Case("two", model="my_model:Net", inputs="my_model:inputs", shapes={"b4": {"batch": 4}}),
    )
"""
SUITE = """
    @pytest.mark.cells(CASES)
    def test_parity(cell):
        cell.assert_parity()


    @pytest.mark.cells(CASES)
    def test_throughput(cell, benchmark):
        cell.measure(benchmark)
"""
IMPORTS = "import pytest\nfrom paritygate import Case, Shape\n"
# A backend of the user's own that runs the model in eager mode and spoils its answers as the file
# says.
BACKEND = """
    from paritygate.backends import eager
    from paritygate.backends.eager import available, preload

    def prepare(subject):
        prepared = eager.prepare(subject)
        read = prepared.to_tensors
        prepared.to_tensors = lambda raw: [spoil(tensor) for tensor in read(raw)]
        return prepared
"""
HOOK = """
    def pytest_paritygate_backends(config):
        return {names}
"""


class Project:
    """A user's project: conftest.py, my_model.py and test_my_model.py in a folder that is not this
    repository.
    """

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester, self.path = pytester, pytester.path
        self.write("conftest.py", CONFTEST)
        self.write("my_model.py", MODEL)
        self.suite(CASES)

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project; the indentation of the text does not count."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    def suite(self, cases: str, tests: str = SUITE) -> None:
        """Write the suite: its cases, and the usual two tests unless others are given."""
        self.write("test_my_model.py", IMPORTS + "".join(map(textwrap.dedent, (cases, tests))))

    def backend(self, name: str, spoil: str) -> None:
        """Add a backend by the hook; ``spoil`` is an expression that makes a wrong answer of
        ``tensor``.
        """
        self.write(
            f"{name}_backend.py",
            textwrap.dedent(BACKEND) + f"\ndef spoil(tensor):\n    return {spoil}\n",
        )
        hook = textwrap.dedent(HOOK).format(names={name: f"{name}_backend"})
        self.write("conftest.py", (self.path / "conftest.py").read_text() + hook)

    def run(self, *arguments: str, targets: str | None = EAGER) -> pytest.RunResult:
        """Run pytest to its end in the project."""
        chosen = [] if targets is None else ["--bench-targets", targets]
        return self.pytester.runpytest_subprocess(*chosen, *arguments)

    def start(self, *arguments: str, targets: str = EAGER) -> Running:
        """Start pytest in the project, to be disturbed while it runs."""
        return Running(
            self, [sys.executable, "-m", "pytest", "--bench-targets", targets, *arguments]
        )

    def records(self, samples: bool = False) -> dict[str, Any]:
        """The records of the latest run, by cell."""
        store = Store(self.path / ".paritygate" / "store.sqlite", make=False)
        return {
            record.cell: record
            for run in store.runs()[-1:]
            for record in store.records(run.id, samples)
        }

    def statuses(self) -> dict[str, str]:
        """How the cells of the latest run ended: cell -> status."""
        return {cell: str(record.status) for cell, record in self.records().items()}

    def processes(self) -> list[psutil.Process]:
        """What runs in the project's folder: pytest, fork servers, workers and their children."""
        return _running_below(self.path)

    def left_over(self) -> list[psutil.Process]:
        """What still runs in the project's folder after it was given a few seconds to end."""
        eventually(lambda: not self.processes())
        return self.processes()


class Running:
    """A pytest of the project that is under way; its output goes to a file."""

    def __init__(self, project: Project, command: list[str]) -> None:
        self.project, self.log = project, project.path / "output.txt"
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                cwd=project.path,
                stdout=file,
                stderr=file,
                start_new_session=True,
                preexec_fn=_hear_ctrl_c,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str) -> None:
        """Wait until the output matches; fails when pytest ends before."""
        eventually(
            lambda: re.search(pattern, self.output) or self.process.poll() is not None, seconds=120
        )
        assert re.search(pattern, self.output), self.output

    def wait_for_worker(self, stage: str) -> None:
        """Wait until one of the project's workers has written ``stage`` (a line its model prints)
        into its log.
        """
        logs = self.project.path / ".paritygate" / "scratch"

        def written() -> bool:
            return any(stage in log.read_text() for log in logs.rglob("worker-*.log"))

        eventually(lambda: written() or self.process.poll() is not None, seconds=120)
        assert written(), self.output

    def interrupt(self) -> None:
        """Ctrl-C as a terminal sends it: to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        """Wait for the end; the exit status."""
        return self.process.wait(120)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def _hear_ctrl_c() -> None:
    """In the new process: a shell that started us in the background has SIGINT ignored, and that is
    inherited.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def eventually(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something holds, at most so long; the caller asserts it afterwards."""
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)


def _running_below(folder: Path) -> list[psutil.Process]:
    found = []  # pytester has moved this very process there, too
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # gone meanwhile, or not ours
            alive = process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
            if alive and Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """A user's project in a folder of its own; nothing of it may still run when the test ends.

    Its temporary files are its own, and with them the lock around timing: tests that run side by
    side do not wait for each other, as none of them is about a time.
    """
    temporary = tempfile.mkdtemp(prefix="pg-")  # short: it may hold sockets
    monkeypatch.setenv("TMPDIR", temporary)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(map(str, (ROOT / "bench", ROOT / "reports", ROOT)))
    )
    for name in (
        "PARITYGATE_STORE",
        "XDG_CACHE_HOME",
        "PYTEST_ADDOPTS",
        "GITHUB_ACTIONS",
        "GITHUB_STEP_SUMMARY",
        "CI",  # pytest then cuts no line of its summary
    ):
        monkeypatch.delenv(name, raising=False)
    made = Project(pytester)
    yield made
    left = made.left_over()
    for process in left:
        process.kill()
    shutil.rmtree(temporary, ignore_errors=True)
    assert not left, "these processes were left over"
