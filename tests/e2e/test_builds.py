"""Builds of trees without a gate, by a real process: kept, failed, interrupted, pruned."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

import pytest

from paritygate.gate import build as module
from paritygate.gate.build import BuildError, Builds, Source
from paritygate.gate.build_command import read
from tests.support.builds import SCRIPT
from tests.support.processes import gone


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
