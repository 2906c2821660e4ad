"""Builds of trees without a gate, by a real process: kept, failed, interrupted, pruned."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from types import SimpleNamespace

import pytest

from paritygate.core.case import Case, Target, cell_of
from paritygate.gate import build as module
from paritygate.gate import source_checks
from paritygate.gate.build import BuildError, Builds, Source
from paritygate.gate.build_command import read
from paritygate.gate.built_sides import BuiltSides
from paritygate.gate.request import GateRequest
from paritygate.gate.revisions import RevisionError, Worktree
from paritygate.gate.session import CLOSURES, Gate
from paritygate.gate.unchanged import Unchanged
from paritygate.session.run import Plan
from tests.support.processes import gone

# compiles nothing: what matters is which files it leaves, and where it runs
SCRIPT = """
import os, pathlib, shutil, subprocess, sys
text = pathlib.Path("fast.c").read_text()
print("compiling", text)
if "error" in text:
    sys.exit(3)
if "hang" in text or "leave" in text:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("started", child.pid, flush=True)
    if "leave" in text:
        sys.exit(3)
    child.wait()
inside = subprocess.run(["git", "rev-parse", "--git-dir"], capture_output=True).returncode == 0
told = [os.getcwd(), str(inside), str(sys.stdin.read() == ""), sys.argv[1]]
pathlib.Path("told.txt").write_text("\\n".join(told))
if "nothing" not in text:
    pathlib.Path("_fast.so").write_text(text)
"""


class Trees:
    """Trees of one project in ``sub``, and their builds."""

    def __init__(self, folder):
        self.folder, self.told, self.deadline = folder, [], 60.0
        self.builds_in = folder / ".paritygate" / "cache" / "builds"

    def tree(self, name, text, more=()):
        root = self.folder / ".paritygate" / name
        files = {"sub/build.py": SCRIPT, "sub/fast.c": text, "README": "", **dict(more)}
        for file, content in files.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(content)
        return Source(name, root, list(files), sys.executable)

    def add_to(self, source, command="python build.py {out}"):
        builds = Builds(
            self.builds_in,
            read(command, self.folder, sys.executable),
            self.folder,
            PurePosixPath("sub"),
            ["_fast.so"],
            self.told.append,
            self.deadline,
        )
        return builds.add_to(source)

    def kept(self):
        """Return what lies in the cache: folders of builds, and outputs of failed ones."""
        return sorted(path.name for path in self.builds_in.iterdir() if path.name != "lock")


@pytest.fixture
def trees(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return Trees(tmp_path)


def test_equal_trees_are_built_once_at_a_place_of_its_own(trees):
    one, two = trees.tree("one", "1"), trees.tree("two", "1")
    made = trees.add_to(one)

    assert set(made) == {"sub/_fast.so", "sub/told.txt"}
    assert trees.add_to(two) == made
    begins = ("gate: building one (", "gate: built one in ", "gate: two was built before")
    for line, begin in zip(trees.told, begins, strict=True):
        assert line.startswith(begin)
    for source in (one, two):
        assert (source.root / "sub" / "_fast.so").read_text() == "1"
    work, repository, no_input, out = (two.root / "sub/told.txt").read_text().splitlines()
    assert (work, repository, no_input) == (str(trees.builds_in / "work/tree/sub"), "False", "True")
    assert out == str(trees.builds_in / "work" / "wheels")
    assert len(trees.kept()) == 1  # and nothing of the work


def test_another_tree_or_another_command_is_built_for_itself(trees):
    one, two = trees.tree("one", "1"), trees.tree("two", "2")
    trees.add_to(one)
    trees.add_to(two)
    trees.add_to(one, "python -B build.py {out}")

    assert (one.root / "sub" / "_fast.so").read_text() == "1"
    assert (two.root / "sub" / "_fast.so").read_text() == "2"
    assert len(trees.kept()) == 3


def test_a_variable_of_compilers_is_part_of_a_build(trees, monkeypatch):
    one = trees.tree("one", "1")
    trees.add_to(one)
    monkeypatch.setenv("CFLAGS", "-O1")
    trees.add_to(one)

    assert len(trees.kept()) == 2


def test_a_failed_build_names_side_command_and_output_and_is_not_kept(trees):
    broken = trees.tree("base (v1, 123)", "an error")
    for _ in range(2):
        with pytest.raises(BuildError) as failed:
            trees.add_to(broken)

    assert failed.value.reason == (
        "bench_build failed on base (v1, 123): `python build.py {out}` ended with status 3: compiling an error"
    )
    (log,) = trees.kept()
    assert str(trees.builds_in / log) in failed.value.details
    assert "compiling an error" in (trees.builds_in / log).read_text()


@pytest.mark.parametrize(
    ("text", "command", "said"),
    [
        ("nothing", "python build.py {out}", "left no compiled file, but there is sub/fast.c"),
        ("1", "./gone.sh", "could not be started: .*gone.sh"),
    ],
)
def test_builds_that_end_otherwise_are_failed_ones(trees, text, command, said):
    (trees.folder / "gone.sh").touch(0o755)  # in head's tree alone
    with pytest.raises(BuildError, match=said):
        trees.add_to(trees.tree("one", text), command)

    assert [name for name in trees.kept() if not name.endswith(".log")] == []


def test_a_build_that_takes_too_long_is_ended(trees):
    trees.deadline = 1.0
    with pytest.raises(BuildError, match="was ended after 1 s"):
        trees.add_to(trees.tree("one", "hang"))


def test_nothing_that_a_build_has_started_outlives_it(trees):
    with pytest.raises(BuildError, match="ended with status 3: started") as failed:
        trees.add_to(trees.tree("one", "leave"))

    assert gone(int(failed.value.reason.rpartition(" ")[2]))


def test_an_interrupted_build_is_not_believed_and_leaves_no_process(trees, monkeypatch):
    started = []
    start = subprocess.Popen

    class Interrupted(start):
        def wait(self, timeout=None):
            if self.args[-1] == str(trees.builds_in / "work" / "wheels") and self not in started:
                started.append(self)
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(module.subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        trees.add_to(trees.tree("one", "hang"))

    assert trees.kept() == []
    assert gone(started[0].pid)


@pytest.mark.parametrize("damage", ["other", "removed", "half"])
def test_a_damaged_build_is_made_again(trees, damage):
    one = trees.tree("one", "1")
    trees.add_to(one)
    (kept,) = trees.kept()
    library = trees.builds_in / kept / "files" / "sub" / "_fast.so"
    if damage == "other":
        library.write_text("2")
    elif damage == "removed":
        library.unlink()
    else:
        (library.parents[2] / "files.json").write_text("{")
    trees.add_to(trees.tree("two", "1"))

    assert trees.told[-1].startswith("gate: built two")
    assert (trees.folder / ".paritygate/two/sub/_fast.so").read_text() == "1"


def test_what_a_killed_run_has_left_in_the_work_is_not_taken(trees):
    left = trees.builds_in / "work" / "tree" / "sub" / "_left.so"
    left.parent.mkdir(parents=True)
    left.write_text("stale")

    assert "sub/_left.so" not in trees.add_to(trees.tree("one", "1"))


def test_the_newest_builds_are_kept_and_one_that_is_used_is_new(trees, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 2)
    first = trees.tree("first", "1")
    trees.add_to(first)
    (used,) = trees.kept()
    for name in ("2", "3"):
        trees.add_to(trees.tree(name, name))
        time.sleep(0.01)
        trees.add_to(first)
        assert "built before" in trees.told[-1]

    assert len(trees.kept()) == 2
    assert used in trees.kept()


def test_two_runs_at_once_build_once(trees):
    """The second waits for the first, and takes its build."""
    both = [trees.tree(name, "1") for name in ("left", "right")]
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(trees.add_to, both)

    assert one == two
    assert sum("building" in line for line in trees.told) == 1
    assert len(trees.kept()) == 1


class TestRefusal:
    """Compiled files in the code under test, without a command that makes them."""

    @pytest.fixture
    def check(self, tmp_path):
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
        (tmp_path / ".gitignore").write_text("*.so\n")

        def check(*files, source="src"):
            for file in files:
                (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / file).write_text("")
            source_checks.check_compiled(tmp_path, [source])

        return check

    def test_ignored_and_untracked_ones_are_named_up_to_three(self, check):
        with pytest.raises(RevisionError) as refused:
            check("src/p/a.so", "src/p/b.so", "src/p/c.pyd", "src/p/d.so", "src/p/e.so")

        said = str(refused.value)
        assert "src/p/a.so, src/p/b.so, src/p/c.pyd and 2 more. Base would have none" in said
        assert "`bench_build = pip wheel" in said

    def test_tracked_ones_and_those_elsewhere_are_each_sides_own_business(self, check, tmp_path):
        check("src/p/net.py", "other/a.so", "src/.venv/lib/torch.so", "src2/a.so")
        (tmp_path / "src" / "p" / "tracked.so").write_text("")
        subprocess.run(["git", "add", "-f", "src/p/tracked.so"], cwd=tmp_path, check=True)
        check()

    def test_a_name_is_no_pattern(self, check):
        check("src2/a.so", "src*/net.py", source="src*")


class TestSides:
    """The trees of both sides of a project below the repository's root."""

    @pytest.fixture
    def sides(self, tmp_path):
        """Build them; head differs from base by files that no commit has."""
        root = tmp_path / "sub"
        root.mkdir()
        (tmp_path / ".gitignore").write_text(".paritygate/\n*.so\n*.bin\n")
        (root / "build.py").write_text(SCRIPT)
        (root / "fast.c").write_text("base")
        git = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c"]
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
            subprocess.run([*git, *command], cwd=tmp_path, check=True)
        (root / "fast.c").write_text("head")
        (root / "new.py").write_text("not added")
        (root / "_fast.so").write_text("stale")
        (root / "_left.so").write_text("stale")
        self.root, home = root, tmp_path / ".paritygate"
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

    def test_each_has_its_own_build_and_nothing_that_git_ignores(self, sides):
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

    def test_head_alone(self, sides):
        built = sides(both=False)

        assert (built.head / "_fast.so").read_text() == "head"
        assert not (built.base / "_fast.so").exists()
        assert not built.equal

    def test_equal_trees_give_equal_builds(self, sides):
        subprocess.run(["git", "checkout", "-q", "fast.c"], cwd=self.root, check=True)

        assert sides().equal  # new.py changes nothing

    def test_under_another_interpreter_base_is_built_from_the_working_tree(self, sides):
        built = sides(python=sys.executable)

        assert (built.base / "_fast.so").read_text() == "head"
        assert built.base != built.head
        assert built.equal

    def test_base_is_not_tried_where_head_fails(self, sides):
        (self.root / "fast.c").write_text("an error")
        built = sides()

        assert list(built.failed) == ["head"]
        assert built.failed["head"].reason.startswith("bench_build failed on head: ")


class TestCells:
    """Which cells are identical, and what is built to know it. A closure of each is known."""

    @pytest.fixture
    def prepared(self, tmp_path):
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
        git = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c"]
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
            subprocess.run([*git, *command], cwd=tmp_path, check=True)
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
        self, prepared, changed, identical, builds
    ):
        assert prepared(changed) == (identical, builds)
