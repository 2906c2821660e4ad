"""Both sides of a project below the repository's root, built: their trees, and which cells are
identical.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import PurePosixPath
from types import SimpleNamespace

import pytest

from paritygate.core.case import Case, Target, cell_of
from paritygate.gate.build_command import read
from paritygate.gate.built_sides import BuiltSides
from paritygate.gate.request import GateRequest
from paritygate.gate.revisions import Worktree
from paritygate.gate.session import CLOSURES, Gate
from paritygate.gate.unchanged import Unchanged
from paritygate.session.run import Plan
from tests.support.builds import SCRIPT, commit_all


@pytest.fixture
def sides(tmp_path):
    """Build them; head differs from base by files that no commit has."""
    root = tmp_path / "sub"
    root.mkdir()
    (tmp_path / ".gitignore").write_text(".paritygate/\n*.so\n*.bin\n")
    (root / "build.py").write_text(SCRIPT)
    (root / "fast.c").write_text("base")
    commit_all(tmp_path)
    (root / "fast.c").write_text("head")
    (root / "new.py").write_text("not added")
    (root / "_fast.so").write_text("stale")
    (root / "_left.so").write_text("stale")
    home = tmp_path / ".paritygate"
    made = []

    def build(python=None, both=True):
        tree = Worktree(root, "HEAD", home / "worktrees")
        command = read("python build.py {out}", root, sys.executable)
        request = GateRequest("HEAD", python, "normal", ["pkg"], build=command)
        made.append(BuiltSides(root, tree, request, home, sys.executable))
        made[-1].build(print, both)
        return made[-1]

    yield build
    for one in made:
        one.close()
    assert len(list((home / "worktrees").iterdir())) == len(made)  # checkouts, of others
    assert (root / "_fast.so").read_text() == "stale"


def test_each_has_its_own_build_and_nothing_that_git_ignores(sides):
    built = sides()

    assert (built.head / "_fast.so").read_text() == "head"
    assert (built.base / "_fast.so").read_text() == "base"
    assert (built.head / "new.py").exists()
    assert not (built.head / "_left.so").exists()
    assert not built.equal
    for tree, listing in built.listings().items():
        found = {str(path) for path in listing.children[PurePosixPath()]}
        assert {"_fast.so", "fast.c", "build.py"} <= found
        assert ("new.py" in found) is (tree == built.head)


def test_head_alone(sides):
    built = sides(both=False)

    assert (built.head / "_fast.so").read_text() == "head"
    assert not (built.base / "_fast.so").exists()
    assert not built.equal


def test_equal_trees_give_equal_builds(sides, tmp_path):
    subprocess.run(["git", "checkout", "-q", "fast.c"], cwd=(tmp_path / "sub"), check=True)

    assert sides().equal  # new.py changes nothing


def test_under_another_interpreter_base_is_built_from_the_working_tree(sides):
    built = sides(python=sys.executable)

    assert (built.base / "_fast.so").read_text() == "head"
    assert built.base != built.head
    assert built.equal


def test_base_is_not_tried_where_head_fails(sides, tmp_path):
    ((tmp_path / "sub") / "fast.c").write_text("an error")
    built = sides()

    assert list(built.failed) == ["head"]
    assert built.failed["head"].reason.startswith("bench_build failed on head: ")


@pytest.fixture
def prepared(tmp_path):
    root, home = tmp_path / "sub", tmp_path / ".paritygate"
    files = {
        "pkg/net.py": "",
        "pkg/unused.py": "",
        "fast.c": "1",
        "flags.py": "",
        "build.py": SCRIPT,
        "README.md": "",
    }
    for file, text in files.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
    (tmp_path / ".gitignore").write_text(".paritygate/\n*.so\n")
    commit_all(tmp_path)
    time.sleep(0.01)  # files that are younger than the run are not believed
    case = Case(
        "net",
        model="pkg.net:Net",
        inputs="pkg.net:inputs",
        shapes={"b8": {"batch": 8}},
        depends=("README.md",),
    )
    cell = cell_of(case, case.all_shapes()[0], Target("cpu", "eager", "fp32"))
    home.mkdir()
    notes = home / "notes"
    notes.write_text(json.dumps(["file", str(root / "pkg" / "net.py")]) + "\n")
    tree = Worktree(root, "HEAD", home / "worktrees")
    Unchanged(root, tree, ["pkg"], home / CLOSURES, "quick").keep(cell, [notes], {})
    tree.close()
    told = []
    run = SimpleNamespace(
        plan=Plan.of([cell], [], [cell]),
        matrix=SimpleNamespace(
            options=SimpleNamespace(budget=SimpleNamespace(name="quick")), runnable=list
        ),
        progress=SimpleNamespace(tell=told.append),
    )
    command = read("python build.py {out}", root, sys.executable)

    def prepared(file):
        (root / file).write_text((root / file).read_text() + "\n# more\n")
        gate = Gate(
            root,
            GateRequest("HEAD", None, "normal", ["pkg"], build=command),
            home / "worktrees",
        )
        try:
            gate.prepare(run, home)
            return bool(gate.identical), sum("gate: building" in line for line in told)
        finally:
            gate.close()

    return prepared


@pytest.mark.parametrize(
    ("changed", "identical", "builds"),
    [
        ("README.md", True, 0),
        ("pkg/unused.py", True, 2),  # both are built, to the same bytes
        ("flags.py", True, 2),
        ("pkg/net.py", False, 2),
        ("fast.c", False, 2),  # the case does not say that it depends on it
    ],
)
def test_a_cell_is_measured_where_its_code_or_the_build_differs(
    prepared, changed, identical, builds
):
    assert prepared(changed) == (identical, builds)
