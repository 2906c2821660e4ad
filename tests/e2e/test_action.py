"""The action played through: a bare origin, a shallow clone of a pull request, its shell as GitHub
runs it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import workflows
from tests.support.repository import ONE, SLOW, Repository
from tests.support.workflows import ACTION

GATE = ACTION / "gate.sh"


class PullRequest:
    """A branch of the project, pushed to a bare repository and cloned one commit deep, as
    actions/checkout does.
    """

    def __init__(self, repository: Repository, folder: Path):
        self.repository, self.origin, self.clone = (
            repository,
            folder / "origin.git",
            folder / "clone",
        )
        repository.git("clone", "-q", "--bare", ".", str(self.origin))
        repository.git("remote", "add", "origin", str(self.origin))
        for number in range(3):  # base goes on meanwhile: what is compared with is the merge base
            repository.git("commit", "-q", "--allow-empty", "-m", f"later {number}")
        repository.git("push", "-q", "origin", "main")
        self.base = repository.git("rev-parse", "main").strip()
        repository.git("checkout", "-q", "-b", "change", "base")

    def push(self):
        self.repository.git("add", "-A")
        self.repository.git("commit", "-q", "--allow-empty", "-m", "the change")
        self.repository.git("push", "-q", "--force", "origin", "change")
        for name in ("clone", "summary.md", "output.txt"):
            subprocess.run(["rm", "-rf", str(self.clone.with_name(name))], check=True)
        subprocess.run(
            [
                "git",
                "clone",
                "-q",
                "--depth",
                "1",
                "--branch",
                "change",
                f"file://{self.origin}",
                str(self.clone),
            ],
            check=True,
        )

    def gate(self, *, targets="cpu-eager-fp32", **more):
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")
        }
        environment |= {
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(self.clone.with_name("summary.md")),
            "GITHUB_OUTPUT": str(self.clone.with_name("output.txt")),
            "BASE": self.base,
            "PYTHON": sys.executable,
            "COLLECTED": ".",
            "PULL_REQUEST": "7",
            "ARGUMENTS": f"--bench-targets {targets}",
        } | more
        done = subprocess.run(
            [str(GATE)],
            cwd=self.clone,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def said(self, name):
        return self.clone.with_name(name).read_text()

    def report(self):
        return (self.clone / "paritygate-report" / "report.md").read_text()


@pytest.fixture
def pull_request(project, tmp_path_factory):
    return PullRequest(Repository(project), tmp_path_factory.mktemp("hub"))


def test_a_harmless_change_is_green_and_a_slow_one_is_red(pull_request):
    pull_request.repository.model("# only a comment\n")
    pull_request.push()
    status, log = pull_request.gate()

    assert status == 0, log
    assert "::error" not in log
    assert pull_request.said("output.txt") == "status=0\n"
    assert pull_request.said("summary.md").startswith("## paritygate: ok")
    run = json.loads((pull_request.clone / "paritygate-report" / "report.json").read_text())["run"]
    merge_base = pull_request.repository.git("rev-parse", "base").strip()
    assert run["environment"]["gate"]["commit"] == merge_base  # not the tip of main, which went on
    assert run["dirty"] is False  # the report's own folder is no change

    pull_request.repository.model("", SLOW)
    pull_request.push()
    status, log = pull_request.gate()

    assert status == 11, log
    assert [
        line.partition("::regressed")[0] for line in log.splitlines() if line.startswith("::error")
    ] == [f"::error title=regressed%3A {ONE}"]
    assert pull_request.said("summary.md").startswith("## paritygate: not ok")
    assert ONE in pull_request.report()
    assert (pull_request.clone / "paritygate-report" / "pull_request").read_text() == "7\n"


def test_a_change_that_breaks_parity_is_10(pull_request):
    pull_request.repository.project.backend("off", "tensor + 1")
    pull_request.push()
    status, log = pull_request.gate(targets="cpu-eager-fp32,cpu-off-fp32")

    assert status == 10, log
    assert "::error title=parity_failed%3A one-b8-cpu-off-fp32::" in log
    assert "parity_failed" in pull_request.report()


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"ARGUMENTS": '--collect-only -q -k "one and b8"'}, 14, "test_regression[one-b8-"),
        ({"ARGUMENTS": "--collect-only -q -k '$(touch here)'"}, 4, "$(touch here)"),
        ({"COLLECTED": ". ./test_my_model.py", "ARGUMENTS": "--collect-only -q"}, 14, ONE),
        ({"COLLECTED": "", "ARGUMENTS": "--collect-only -q"}, 14, ONE),
        ({"ARGUMENTS": '-k "one'}, 4, "are not well quoted"),
        ({"BASE": ""}, 14, "::error title=paritygate::there is no base"),
        ({"BASE": "0" * 40}, 14, "::error title=paritygate::there is no base"),
        ({"BASE": "no-such-branch"}, 14, "cannot be fetched"),
        (
            {"BASE": "0" * 40, "DEFAULT_BRANCH": "main", "ARGUMENTS": "--collect-only -q"},
            14,
            ONE,
        ),
    ],
    ids=[
        "quotes",
        "nothing-is-run",
        "two-paths",
        "no-path",
        "open-quote",
        "no-base",
        "new-branch-without-default",
        "unknown-base",
        "new-branch",
    ],
)
def test_inputs_are_words_and_a_base_is_found(pull_request, given, status, said):
    pull_request.push()
    ended, log = pull_request.gate(**given)

    assert ended == status, log
    assert said in log
    assert not (pull_request.clone / "here").exists()


def test_another_repository_uses_the_action_by_its_name(pull_request, tmp_path):
    """GitHub lays the Action outside of the repository, and the step's own text starts it. The
    workflow on request also checks paritygate out below ``.paritygate``.
    """
    pull_request.repository.model("# only a comment\n")
    pull_request.push()
    placed = tmp_path / "_actions" / "some owner" / "paritygate" / "v1"
    shutil.copytree(ACTION, placed)
    other = pull_request.clone / ".paritygate" / "ci"
    other.mkdir(parents=True)
    (other.parent / ".gitignore").write_text("*\n")
    (other / "test_not_mine.py").write_text("raise SystemExit('collected')\n")
    action = workflows.read(placed / "action.yml")
    contexts = {f"inputs.{name}": row["default"] for name, row in action["inputs"].items()}
    contexts |= {
        "inputs.arguments": "--bench-targets cpu-eager-fp32",
        "inputs.python": sys.executable,
        "github.event.pull_request.base.sha": pull_request.base,
        "github.event.pull_request.number": "7",
    }
    done = workflows.run(
        workflows.step(action["runs"]["steps"], "gate.sh"),
        contexts,
        pull_request.clone,
        PYTHONPATH=os.environ["PYTHONPATH"],  # the model's clock is one of our tests' own
        GITHUB_ACTION_PATH=str(placed),
        GITHUB_ACTIONS="true",
        GITHUB_STEP_SUMMARY=str(pull_request.clone.with_name("summary.md")),
        GITHUB_OUTPUT=str(pull_request.clone.with_name("output.txt")),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert pull_request.said("output.txt") == "status=0\n"
    assert pull_request.said("summary.md").startswith("## paritygate: ok")
    assert (pull_request.clone / "paritygate-report" / "pull_request").read_text() == "7\n"


def test_nothing_compared_is_not_green(pull_request):
    pull_request.repository.model("", SLOW)
    pull_request.push()
    status, log = pull_request.gate(targets="cuda")
    assert status == 14, log

    status, _ = pull_request.gate(ARGUMENTS="-k nothing_of_that_name")
    assert status == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "compared nothing" in pull_request.said("summary.md")
