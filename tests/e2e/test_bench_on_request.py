"""A run on request, played through: the shell of the workflow's steps, against a real server that
stands for GitHub.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest

from tests.support import workflows
from tests.support.github import AFTER, ASKED, BASE, HEAD, LATER, NUMBER, TOKEN
from tests.support.workflows import ACTION

JOBS = workflows.workflow("bench-command")["jobs"]
REQUEST = workflows.step(JOBS["request"]["steps"], "bench_request")
COMMENT = workflows.step(JOBS["comment"]["steps"], "post_comment")
OF_GATE = workflows.step(workflows.workflow("comment")["jobs"]["comment"]["steps"], "post_comment")
REPORT = "## paritygate: ok\n"
COMMENTS = f"issues/{NUMBER}/comments"
HOSTILE = (
    "/bench $(touch here)",
    "/bench -k `touch here`",
    "/bench; touch here",
    "/bench -k a; touch here",
    "/bench -k x\nhead=" + LATER,
    "/bench -k 'x\r\narguments<<EOF\r\n--rootdir=/\r\nEOF'",
    "/bench --rootdir=/ -p evil",
    "/bench -k @/etc/passwd",
    "/bench ```\n::error::@everyone\n<script>",
    "/bench '; touch here; '",
    "/bench " + "-k a " * 10_000,
)


class Workflow:
    """Runs the steps of one pull request's workflows, each job in a folder of its own."""

    def __init__(self, hub, folder):
        self.hub, self.folder, self.jobs = hub, folder, 0

    def run(self, step, contexts, **environment):
        self.jobs += 1
        self.job = workflows.with_scripts(self.folder / f"job {self.jobs}")
        contexts = {"github.token": TOKEN, "github.repository": "octo/cells"} | contexts
        return workflows.run(step, contexts, self.job, **self.hub.environment, **environment)

    def ask(self, body, *, login="friend", pull_request=True):
        """Return the outputs of the request, and what the step printed."""
        event = {
            "issue": {"number": NUMBER} | ({"pull_request": {}} if pull_request else {}),
            "comment": {"id": 5, "body": body, "user": {"login": login}, "created_at": ASKED},
        }
        file, output = self.folder / "event.json", self.folder / "output.txt"
        file.write_text(json.dumps(event))
        output.write_text("")
        done = self.run(REQUEST, {}, GITHUB_EVENT_PATH=str(file), GITHUB_OUTPUT=str(output))
        assert done.returncode == 0, done.stderr
        assert not list(self.folder.rglob("here"))
        return dict(line.split("=", 1) for line in output.read_text().splitlines()), done.stdout

    def post(self, report=REPORT, **outputs):
        """Run the job that comments, with the outputs of a request."""
        outputs = {"number": str(NUMBER), "head": HEAD, "asked": "`/bench` of friend"} | outputs
        contexts = {f"needs.request.outputs.{name}": value for name, value in outputs.items()}
        contexts |= {"github.server_url": "https://github.com", "github.run_id": "9"}
        self._artifact(report)
        return self.run(COMMENT, contexts)

    def post_of_gate(self, number, report=REPORT, head=HEAD):
        """Run comment.yml, whose number comes from the pull request's own code."""
        self._artifact(report, number)
        contexts = {
            "github.event.workflow_run.head_sha": head,
            "github.event.workflow_run.html_url": "https://github.com/octo/cells/actions/runs/9",
        }
        return self.run(OF_GATE, contexts)

    def _artifact(self, report, number=None):
        folder = self.folder / f"job {self.jobs + 1}" / "report"
        folder.mkdir(parents=True)
        if report is not None:
            (folder / "report.md").write_text(report)
        if number is not None:
            (folder / "pull_request").write_text(number)


@pytest.fixture
def workflow(github, tmp_path):
    return Workflow(github, tmp_path)


@pytest.mark.parametrize("login", ["owner", "friend"])
def test_who_may_write_may_ask(workflow, github, login):
    outputs, _ = workflow.ask(
        '/bench -k "bert and not compile" --bench-profile=strict', login=login
    )

    assert outputs == {
        "number": str(NUMBER),
        "head": HEAD,
        "base": BASE,
        "arguments": "-k 'bert and not compile' --bench-profile strict",
        "asked": f"`/bench -k 'bert and not compile' --bench-profile strict` of {login}",
    }
    assert github.writes == [("POST", "issues/comments/5/reactions", {"content": "eyes"})]


@pytest.mark.parametrize("login", ["reader", "nobody", "../../x", "triager", "weird"])
def test_nobody_else_may(workflow, github, login):
    github.permissions |= {"triager": "triage", "weird": "WRITE"}
    outputs, log = workflow.ask("/bench -k bert", login=login)

    assert outputs == {}
    assert "only people with write access" in log
    ((method, path, fields),) = github.writes
    assert (method, path) == ("POST", COMMENTS)
    assert "only people with write access" in fields["body"]


def test_whoever_may_not_is_told_once(workflow, github):
    for _ in range(3):
        workflow.ask("/bench", login="reader")

    assert [method for method, *_ in github.writes] == ["POST", "PATCH", "PATCH"]
    assert len(github.comments) == 1


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: ascii(body[:30]))
def test_a_hostile_comment_is_answered_and_nothing_is_run(workflow, github, body):
    outputs, log = workflow.ask(body)

    if body.startswith("/bench;"):  # another word: no command at all
        assert (outputs, github.calls) == ({}, [])
        return
    assert outputs == {}
    assert re.fullmatch(r"::warning title=paritygate::refused: [^\n]*\n", log)
    ((_, path, fields),) = github.writes
    assert path == COMMENTS
    marker, answer, *_ = fields["body"].split("\n")
    assert marker == "<!-- paritygate request -->"
    assert answer.startswith("Nothing was run: ")
    assert "@everyone" not in re.sub("`[^`]*`", "", answer)
    assert "/bench [-k EXPR]" in fields["body"]
    assert len(fields["body"]) < 1000


@pytest.mark.parametrize(
    ("body", "pull_request"), [("/benchmark", True), ("/bench", False), (" /bench", True)]
)
def test_what_is_no_command_is_left_alone(workflow, github, body, pull_request):
    outputs, _ = workflow.ask(body, pull_request=pull_request)

    assert outputs == {}
    assert github.calls == []


def test_what_was_pushed_after_the_comment_is_not_measured(workflow, github):
    """Whoever asks has seen what was there before."""
    for pushed in (ASKED, AFTER):
        github.pull["head"]["repo"]["pushed_at"] = pushed
        outputs, log = workflow.ask("/bench")
        assert outputs == {}
        assert "was pushed to since the comment" in log

    github.pull["head"]["repo"]["full_name"] = "octo/cells"  # whoever pushes there may ask, too
    outputs, _ = workflow.ask("/bench")
    assert outputs["head"] == HEAD

    github.pull["head"]["repo"] = None  # the fork is gone, and its commit cannot change
    outputs, _ = workflow.ask("/bench")
    assert outputs["head"] == HEAD


def test_a_closed_pull_request_is_not_measured(workflow, github):
    github.pull["state"] = "closed"
    outputs, log = workflow.ask("/bench")

    assert outputs == {}
    assert "is closed" in log


def test_a_reaction_is_a_courtesy(workflow, github):
    github.broken = "reactions"
    outputs, log = workflow.ask("/bench")

    assert outputs["head"] == HEAD
    assert "no reaction" in log


def test_the_existing_comment_is_edited(workflow, github):
    people = github.comment("<!-- paritygate --> me too", kind="User")
    for number in range(150):  # two pages
        github.comment(f"comment {number}", kind="User")
    ours = github.comment("<!-- paritygate -->\nan older report")
    github.comment("<!-- paritygate request -->\nNothing was run")
    done = workflow.post(asked="`/bench -k bert` of friend")

    assert done.returncode == 0, done.stderr
    ((method, path, fields),) = github.writes
    assert (method, path) == ("PATCH", f"issues/comments/{ours}")
    assert fields["body"] == (
        f"<!-- paritygate -->\nCommit {HEAD[:10]}, `/bench -k bert` of friend "
        f"([log](https://github.com/octo/cells/actions/runs/9)).\n\n{REPORT}"
    )
    assert github.comments[people - 1000]["body"] == "<!-- paritygate --> me too"


def test_a_first_comment_is_posted_and_then_edited(workflow, github):
    github.comment("<!-- paritygate request -->\nNothing was run")
    workflow.post()
    workflow.post()
    workflow.post_of_gate(str(NUMBER))

    assert [method for method, *_ in github.writes] == ["POST", "PATCH", "PATCH"]
    assert len(github.comments) == 2
    assert "of friend" not in github.comments[1]["body"]


def test_a_head_that_has_moved_is_told(workflow, github):
    github.pull["head"]["sha"] = LATER
    done = workflow.post()

    assert done.returncode == 0, done.stderr
    body = github.comments[0]["body"]
    assert f"Commit {HEAD[:10]}" in body
    assert f"**The pull request is at {LATER[:10]} by now, which was not measured.**" in body


def test_a_run_without_a_report_is_told(workflow, github, tmp_path):
    workflow.post(report=None)
    assert "**paritygate compared nothing**" in github.comments[0]["body"]

    secret = tmp_path / "secret"
    secret.write_text("a secret of the runner")
    link = tmp_path / f"job {workflow.jobs + 1}" / "report" / "report.md"
    link.parent.mkdir(parents=True)
    link.symlink_to(secret)
    workflow.run(COMMENT, {"needs.request.outputs.number": "7", "needs.request.outputs.head": HEAD})
    assert "secret" not in github.comments[0]["body"]
    assert "**paritygate compared nothing**" in github.comments[0]["body"]


def test_a_long_report_is_cut(workflow, github):
    workflow.post(report="\u00e4" * 100_000)

    body = github.comments[0]["body"]
    assert 60_000 < len(body) < 60_200  # of 65,536
    assert body.endswith("*The rest is in the log.*")


@pytest.mark.parametrize(
    ("number", "head", "status"),
    [
        (f"{NUMBER}\n", HEAD, 0),
        (f"{NUMBER}\n", LATER, 1),  # another's pull request
        ("8", HEAD, 1),
        ("", HEAD, 1),
        ("../../issues/7", HEAD, 0),  # digits alone count
        ("$(touch here)", HEAD, 1),
        ("7" * 100_000, HEAD, 1),
    ],
    ids=lambda value: str(value)[:12],
)
def test_the_number_of_an_artifact_must_be_that_of_its_head(workflow, github, number, head, status):
    done = workflow.post_of_gate(number, head=head)

    assert done.returncode == status, done.stderr
    assert bool(github.writes) == (status == 0)
    assert not list(workflow.folder.rglob("here"))


@pytest.fixture
def words_of_pytest(tmp_path):
    """Run the Action's shell, with a Python that writes down what pytest would get."""
    project, said = tmp_path / "project", tmp_path / "words.json"
    project.mkdir()
    for command in (
        "init -q",
        "-c user.email=a@b.c -c user.name=A commit -q --allow-empty -m base",
    ):
        subprocess.run(["git", *command.split()], cwd=project, check=True)
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"if sys.argv[1] == '-c': os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])\n"
        f"json.dump(sys.argv[1:], open({str(said)!r}, 'w'))\n"
    )
    python.chmod(0o755)
    (gate,) = [
        part for part in workflows.read(ACTION / "action.yml")["runs"]["steps"] if "run" in part
    ]

    def words(arguments):
        contexts = {
            "inputs.base": "HEAD",
            "inputs.arguments": arguments,
            "inputs.python": str(python),
            "inputs.report": "paritygate-report",
        }
        workflows.run(gate, contexts, project, GITHUB_ACTION_PATH=str(ACTION))
        given = json.loads(said.read_text())
        return given[given.index("pytest") + 1 : given.index("--bench-against")]

    return words


@pytest.mark.parametrize(
    "body",
    [
        "/bench",
        "/bench -k bert",
        "/bench -k '(bert or cnn) and not compile'",
        '/bench --bench-targets "cpu-*-fp32,*" --bench-limit=600 --bench-all',
    ],
)
def test_pytest_gets_exactly_the_words_of_the_comment(workflow, words_of_pytest, body):
    """From the comment through the outputs, the workflow and the Action to pytest's words."""
    outputs, _ = workflow.ask(body)
    uses = workflows.step(JOBS["gate"]["steps"], "actions/paritygate")
    contexts = {f"needs.request.outputs.{name}": value for name, value in outputs.items()}
    given = workflows.expand(uses["with"]["arguments"], contexts)

    expected = shlex.split(body.replace("=", " "))[1:]
    assert words_of_pytest(given) == ["--bench-profile", "noisy", *expected]
