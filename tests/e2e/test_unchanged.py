"""The gate leaves out the cells whose code and data are identical on both sides, and only these."""

from __future__ import annotations

import json
import subprocess
import textwrap
import time

import pytest

from paritygate.core.case import Case, Target, cell_of
from paritygate.gate.revisions import Worktree
from paritygate.gate.unchanged import Unchanged
from tests.support.repository import INI, MODEL

NET = textwrap.dedent(MODEL)
CASES = """
    CASES = tuple(
        Case(name, model=f"pkg.{name}:Net", inputs=f"pkg.{name}:inputs", shapes={"b8": {"batch": 8}})
        for name in ("first", "second", "alone")
    )
"""
# a helper is imported by two models; one of them imports another file late, and reads data
FILES = {
    "pytest.ini": INI.replace("my_model.py", "pkg"),
    "pkg/__init__.py": "",
    "pkg/helper.py": "SECONDS = 0.001\n",
    "pkg/late.py": "SECONDS = 0.001\n",
    "pkg/unused.py": "",
    "pkg/first.py": NET.replace("0.001", "SECONDS") + "\n\nfrom pkg.helper import SECONDS\n",
    "pkg/second.py": NET.replace("work(0.001)", "self.wait()")
    + textwrap.dedent("""
        def wait(self):
            from pathlib import Path

            from pkg.helper import SECONDS
            from pkg.late import SECONDS

            Path(__file__).with_name("prompt.md").read_text()
            work(SECONDS)


        Net.wait = wait
    """),
    "pkg/prompt.md": "a template",
    "pkg/alone.py": NET,
    "README.md": "words\n",
}
SLOW = ("pkg/helper.py", "pkg/late.py", "pkg/alone.py")  # in base at first: all cells then improve
IDS = {name: f"{name}-b8-cpu-eager-fp32" for name in ("first", "second", "alone")}


class Changing:
    """A repository whose cells a first gate has measured, so that their closures are known."""

    def __init__(self, repository):
        self.repository, self.project = repository, repository.project
        (self.project.path / "my_model.py").unlink()
        for file, text in FILES.items():
            self.project.write(file, text.replace("0.001", "0.002") if file in SLOW else text)
        self.project.suite(CASES)
        repository.commit("slow")
        for file in SLOW:
            self.project.write(file, FILES[file])
        result = repository.gate(against="slow")
        assert result.ret == 0
        assert set(self.verdicts().values()) == {"improved"}
        repository.commit("known")

    def verdicts(self):
        records = self.project.records()
        return {name: records[cell].verdict for name, cell in IDS.items() if cell in records}

    def gate(self, *arguments):
        """Compare, but begin no launch: what would be measured stays inconclusive."""
        return self.repository.gate("--bench-limit", "1", *arguments, against="known")

    def measured(self, *arguments):
        """Return the cells that the gate would measure."""
        self.gate(*arguments)
        found = self.verdicts()
        assert set(found) == set(IDS)
        return {name for name, verdict in found.items() if verdict == "inconclusive"}

    def undo(self):
        self.repository.git("reset", "-q", "--hard", "known")
        self.repository.git("clean", "-q", "-f", "-d")


@pytest.fixture
def changing(repository):
    return Changing(repository)


def test_only_what_can_have_changed_is_measured(changing):
    write, project = changing.project.write, changing.project
    closures = project.path / ".paritygate" / "cache" / "closures"
    first_of_all, away = IDS["first"], closures.with_name("away")

    write("README.md", "other words\n")
    for reason in ("identical code and data, in 3 files", "no code and no data differs"):
        result = changing.gate("-rs")
        assert result.ret == 0
        result.stdout.fnmatch_lines(
            ["head against known (*), profile noisy: 3 same (3 not measured: identical)"]
        )
        assert changing.verdicts() == dict.fromkeys(IDS, "same")
        assert project.records()[first_of_all].verdict_reason == reason
        if closures.exists():
            closures.rename(away)  # a machine that knows of no cell
    away.rename(closures)

    for change, wanted in (
        ({"pkg/helper.py": FILES["pkg/helper.py"] + "# other\n"}, {"first", "second"}),
        ({"pkg/late.py": FILES["pkg/late.py"] + "# other\n"}, {"second"}),
        ({"pkg/prompt.md": "another template"}, {"second"}),
        ({"pkg/unused.py": "other = 1\n"}, set()),
        ({"pkg/table.csv": "nobody knows who reads it"}, set(IDS)),
    ):
        for file, text in change.items():
            write(file, text)
        assert changing.measured() == wanted, change
        changing.undo()

    # renamed with equal content: those that import it under its old name fail
    changing.repository.git("mv", "pkg/helper.py", "pkg/renamed.py")
    changing.gate()
    assert changing.verdicts() == {"alone": "same", "first": "broken", "second": "broken"}
    changing.undo()

    # a closure of another commit, which lacks a file, is not believed
    write("pkg/unused.py", "other = 1\n")
    kept = closures / f"{IDS['alone']}.json"
    closure = json.loads(kept.read_text())
    (entry,) = [one for one in closure["entries"] if one[1] == "pkg/alone.py"]
    entry[2] = "0" * 64
    kept.write_text(json.dumps(closure))
    assert changing.measured() == {"alone"}

    assert changing.measured("--bench-all") == set(IDS)


def test_a_pattern_that_fits_no_file_is_refused(repository):
    case = repository.project.path / "test_my_model.py"
    case.write_text(
        case.read_text().replace('shapes={"b8"', 'depends=["tables/*.csv"], shapes={"b8"')
    )
    result = repository.gate(against="HEAD")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*case one: depends names 'tables/[*].csv', which fits no file of the project*"]
    )


CASE = Case("net", model="pkg.net:Net", inputs="pkg.net:inputs", shapes={"b8": {"batch": 8}})
CELL = cell_of(CASE, CASE.all_shapes()[0], Target("cpu", "eager", "fp32"))


@pytest.mark.parametrize(
    ("changed", "identical"),
    [
        ("other/code.py", True),
        ("other/table.csv", True),
        ("shared/prices.csv", False),
        ("project/README.md", True),
        ("project/table.csv", False),
        ("project/pkg/net.py", False),
    ],
)
def test_a_project_below_the_repositorys_root_uses_files_of_the_whole(tmp_path, changed, identical):
    """Its code has read a file beside the project, through a path of the checkout."""
    repository, slot = tmp_path / "repository", tmp_path / "slot"
    for file in ("project/pkg/net.py", "project/README.md", "shared/prices.csv", "other/code.py"):
        (repository / file).parent.mkdir(parents=True, exist_ok=True)
        (repository / file).write_text("")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
        who = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *who, *command], cwd=repository, check=True)
    used = [("file", f"{slot}/pkg/net.py"), ("file", f"{repository}/shared/prices.csv")]
    notes = tmp_path / "used"
    notes.write_text("".join(json.dumps(one) + "\n" for one in used))
    time.sleep(0.01)  # files that are younger than the run are not believed

    def find():
        tree = Worktree(repository / "project", "HEAD", tmp_path / "trees")
        try:
            seen = Unchanged(repository / "project", tree, ["pkg"], tmp_path / "kept", "quick")
            return seen, seen.find([CELL])
        finally:
            tree.close()

    seen, _ = find()
    seen.keep(CELL, [notes], {str(slot): "."})
    (repository / changed).write_text("other = 1\n")

    assert bool(find()[1]) is identical


@pytest.fixture
def noted(tmp_path):
    """Keep the closure of a cell that has used these files of head, in which ``pkg/net.py`` is
    another than in base; return whether the cell is identical.
    """

    def identical(*used):
        (tmp_path / "pkg").mkdir()
        (tmp_path / "pkg" / "net.py").write_text("")
        (tmp_path / "linked").symlink_to("pkg")
        (tmp_path / ".gitignore").write_text(".paritygate\n")
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
            who = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
            subprocess.run(["git", *who, *command], cwd=tmp_path, check=True)
        (tmp_path / "pkg" / "net.py").write_text("other = 1\n")
        time.sleep(0.01)
        own = tmp_path / ".paritygate"
        own.mkdir()
        notes = own / "used"
        notes.write_text("".join(json.dumps(("file", str(tmp_path / one))) + "\n" for one in used))
        tree = Worktree(tmp_path, "HEAD", own / "trees")
        try:
            seen = Unchanged(tmp_path, tree, [], own / "kept", "quick")
            seen.keep(CELL, [notes], {}, [own / "copy"])
            return bool(Unchanged(tmp_path, tree, [], own / "kept", "quick").find([CELL]))
        finally:
            tree.close()

    return identical


def test_a_file_behind_a_link_is_noticed(noted):
    assert not noted("linked/net.py")


def test_a_file_of_a_copy_stands_for_that_of_the_working_tree(noted):
    """Code that resolves links finds the copy in which head was built."""
    assert not noted(".paritygate/copy/pkg/net.py")


def test_empty_notes_are_not_believed(noted):
    """A worker leaves them where it could not write."""
    assert not noted()


def test_a_file_that_is_not_used_is_none_of_its_business(noted):
    assert noted("pkg/other.py")


def test_a_file_that_is_edited_while_cells_run_leaves_nothing_to_believe(tmp_path):
    (tmp_path / "pkg").mkdir()
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "base"]):
        who = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *who, *command], cwd=tmp_path, check=True)
    tree = Worktree(tmp_path, "HEAD", tmp_path / ".paritygate" / "trees")
    try:
        seen = Unchanged(tmp_path, tree, ["pkg"], tmp_path / ".paritygate" / "kept", "quick")
    finally:
        tree.close()
    net = tmp_path / "pkg" / "net.py"
    net.write_text("edited after the run has begun")
    notes = tmp_path / ".paritygate" / "used"
    notes.write_text(json.dumps(("file", str(net))) + "\n")
    seen.keep(CELL, [notes], {})

    assert not (tmp_path / ".paritygate" / "kept").exists()
