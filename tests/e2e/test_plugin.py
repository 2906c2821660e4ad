"""The plugin at the edges of a run: what it imports, what it says before and meanwhile, where it
writes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from paritygate.host import lock
from tests.support import imports
from tests.support.paths import ROOT


def test_collecting_the_whole_matrix_imports_nothing_heavy():
    ran = imports.run(
        imports.PYTEST, "bench", "--collect-only", "-q", "-p", "no:cacheprovider", cwd=ROOT
    )
    assert ran.status == 0, ran.output
    assert "::test_parity[cnn_" in ran.output
    assert len(re.findall(r"::test_throughput\[", ran.output)) >= 20
    assert ran.modules & (imports.HEAVY | {"models"}) == set()


@pytest.mark.parametrize(
    "halves", [("paritygate",), ("paritygate", "paritygate_reports")], ids=" and ".join
)
def test_a_run_imports_no_runtime_into_pytest(project, halves):
    project.write("conftest.py", "")  # the plugins come by their entry points
    without = [] if "paritygate_reports" in halves else ["-p", "no:paritygate_reports.plugin"]
    chosen = ("--bench-targets=eager", "-k", "one", "-p", "no:cacheprovider", *without)
    ran = imports.run(imports.PYTEST, *chosen, cwd=project.path)
    assert "2 passed, 2 deselected" in ran.output
    stored = {"numpy", "pandas", "sqlalchemy"} if "paritygate_reports" in halves else set()
    assert ran.modules & imports.HEAVY <= stored
    assert (project.path / ".paritygate" / "store.sqlite").exists() == (
        "paritygate_reports" in halves
    )


def test_the_cost_is_told_before_anything_runs(project):
    project.run("--collect-only").stdout.fnmatch_lines(
        ["paritygate: 2 cells in 2 groups, about 10 s (2 of 2 groups guessed)"]
    )
    assert not (project.path / ".paritygate").exists()
    first = project.run("--benchmark-disable", "-k", "one")
    first.stdout.fnmatch_lines(["paritygate: 1 cell in 1 group, about 5 s (1 of 1 group guessed)"])
    again = project.run("--collect-only")
    again.stdout.fnmatch_lines(["paritygate: 2 cells in 2 groups, about * (1 of 2 groups guessed)"])
    project.run("--collect-only", "-k", "one").stdout.fnmatch_lines(
        ["paritygate: 1 cell *(from the last run)"]
    )


def test_a_terminal_shows_what_is_being_done_and_keeps_lines_only(project, monkeypatch):
    pty = pytest.importorskip("pty")
    monkeypatch.delenv("PY_COLORS", raising=False)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pytest", "--bench-targets=eager", "-k", "one"]
    with subprocess.Popen(
        command, cwd=project.path, stdout=theirs, env=os.environ | {"TERM": "xterm"}
    ) as process:
        os.close(theirs)
        output = b""
        while chunk := _read(ours):
            output += chunk
    os.close(ours)
    assert process.returncode == 0
    text = output.decode()
    assert re.search(r"\r\x1b\[2K\[1/1, \d+ s left\] one b8: measuring 1 cells", text)
    # what each line shows in the end
    left = [line.rpartition("\x1b[2K")[2] for line in text.split("\r\n")]
    assert any(re.fullmatch(r"\[1/1, done\] one b8  eager .* sample/s", line) for line in left)
    assert not any("measuring" in line for line in left)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


def test_where_the_project_cannot_be_written_a_cache_folder_is_used_and_told(project, monkeypatch):
    project.write(".paritygate", "in the way, which stops even root")
    cache = project.path / "elsewhere"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    # no warning, which may be an error
    result = project.run("-k", "one", "--benchmark-disable", "-W", "error")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["paritygate: *; .paritygate cannot be written: results go to */elsewhere/paritygate/*"]
    )
    (home,) = (cache / "paritygate").iterdir()
    assert (home / "store.sqlite").exists()
    project.run("-k", "one", "--collect-only").stdout.fnmatch_lines(["*(from the last run)"])


def test_two_sessions_do_not_measure_at_once(project, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(project.path))  # a lock of this test's own
    with lock.timing_lock(str, project.path / lock.PATH.name):
        session = project.start("-k", "one")
        session.wait_for(
            rf"another run measures on this machine \(pid {os.getpid()}\); waiting for it"
        )
        assert session.process.poll() is None
    assert session.end() == 0
    assert project.records()["one-b8-cpu-eager-fp32"].throughput > 0


def test_a_session_without_cells_is_left_alone(project):
    project.suite("", "def test_nothing():\n    pass\n")
    result = project.run()
    assert result.ret == 0
    assert "= paritygate =" not in result.stdout.str()
    assert not (project.path / ".paritygate").exists()
