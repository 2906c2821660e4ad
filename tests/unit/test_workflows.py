"""Workflows and actions: no stranger's text in a shell, no rights where a stranger's code runs, and
the pages show what there is.
"""

from __future__ import annotations

import os
import re

import bench_command
import pytest

from paritygate.plugin import options
from tests.support import workflows
from tests.support.paths import ROOT
from tests.support.workflows import ACTION, WORKFLOWS

FILES = sorted([*WORKFLOWS.glob("*.yml"), *(ROOT / ".github" / "actions").glob("*/action.yml")])
# events whose workflows have the rights, and the cache, of the default branch
PRIVILEGED = {"issue_comment", "workflow_run", "pull_request_target"}
JOBS = {
    f"{path.stem}-{name}": (read, name)
    for path in sorted(WORKFLOWS.glob("*.yml"))
    for read in [workflows.read(path)]
    for name in read["jobs"]
}
# expressions that name the head of a pull request
HEAD = re.compile(r"head|pull_request\.merge|github\.ref\b")
PAGE = (ACTION / "README.md").read_text()
EXAMPLES = [workflows.parse(part.partition("```")[0]) for part in PAGE.split("```yaml\n")[1:]]


def steps(path):
    read = workflows.read(path)
    jobs = [read["runs"]] if "runs" in read else read["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def permissions(read, job):
    return job.get("permissions", read.get("permissions"))


def checks_out_a_pull_request(read, job):
    """Whether a job has code of a pull request. ``pull_request`` alone checks out its merge commit."""
    of_event = "pull_request" in read["on"] and not PRIVILEGED & set(read["on"])
    refs = [
        step.get("with", {}).get("ref", "${{ github.ref }}" if of_event else "")
        for step in job["steps"]
        if "actions/checkout" in step.get("uses", "")
    ]
    return any(HEAD.search(ref) for ref in refs)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / ".github")))
def test_shells_get_values_as_variables_alone(path):
    for step in steps(path):
        assert "${{" not in step.get("run", ""), step


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / ".github")))
def test_only_github_s_own_actions_are_used_and_a_version_is_named(path):
    for step in steps(path):
        if "uses" in step and not step["uses"].startswith("./"):
            assert re.fullmatch(r"actions/[a-z/-]+@v\d+", step["uses"])


@pytest.mark.parametrize(("read", "name"), JOBS.values(), ids=JOBS)
def test_a_job_says_its_rights_and_has_no_secrets(read, name):
    given = permissions(read, read["jobs"][name])

    assert isinstance(given, dict)
    assert set(given.values()) <= {"read", "write"}
    assert "secrets" not in str(read)


@pytest.mark.parametrize(("read", "name"), JOBS.values(), ids=JOBS)
def test_code_of_a_pull_request_has_no_rights(read, name):
    job = read["jobs"][name]
    if checks_out_a_pull_request(read, job):
        assert permissions(read, job) == {"contents": "read"}
    else:
        assert "make setup" not in str(job)


@pytest.mark.parametrize(
    ("read", "name"), [job for job in JOBS.values() if PRIVILEGED & set(job[0]["on"])]
)
def test_a_privileged_event_saves_no_cache_and_keeps_no_token(read, name):
    """A cache of the default branch is restored by every later run."""
    for step in read["jobs"][name]["steps"]:
        uses, given = step.get("uses", ""), step.get("with", {})
        assert not uses.startswith("actions/cache")
        assert "cache" not in given
        if "paritygate" in uses:
            assert given["save-cache"] == "false"
            assert uses.startswith("./.paritygate/ci/")  # not the pull request's own Action
        if "actions/checkout" in uses:
            assert given["persist-credentials"] is False


def test_what_is_checked_in_this_file_is_there():
    """So that the tests above do not pass for want of something to look at."""
    bench, gate = workflows.workflow("bench-command"), workflows.workflow("gate")
    having = {name for name, job in bench["jobs"].items() if checks_out_a_pull_request(bench, job)}
    writing = {
        name for name, job in bench["jobs"].items() if "write" in permissions(bench, job).values()
    }

    assert having == {"gate"}
    assert writing == {"request", "comment"}
    assert checks_out_a_pull_request(gate, gate["jobs"]["gate"])
    assert len(JOBS) == 6


def test_a_request_begins_by_a_new_comment_or_a_label():
    """A comment that is edited later was not written by its author alone. Not
    ``pull_request_target``: a label needs no rights.
    """
    read = workflows.workflow("bench-command")

    assert read["on"]["issue_comment"] == {"types": ["created"]}
    assert read["on"]["pull_request"] == {"types": ["labeled"]}
    assert set(read["on"]) == {"issue_comment", "pull_request", "workflow_call"}
    assert "concurrency" not in read  # any comment would end a run
    assert "needs.request.outputs.head" in read["jobs"]["gate"]["if"]
    assert "needs.request.outputs.head" in read["jobs"]["comment"]["if"]
    assert "startsWith(github.event.comment.body, '/bench')" in read["jobs"]["request"]["if"]


def test_the_report_of_a_label_is_posted_like_that_of_the_gate():
    read = workflows.workflow("comment")

    assert read["on"]["workflow_run"]["workflows"] == ["gate", "bench-command"]
    for name in ("gate", "bench-command"):
        assert workflows.workflow(name)["name"] == name
    assert "workflow_run.event == 'pull_request'" in read["jobs"]["comment"]["if"]


def test_the_action_saves_a_cache_only_if_it_may():
    (save, restore) = [
        step for step in workflows.read(ACTION / "action.yml")["runs"]["steps"] if "uses" in step
    ]

    assert (save["uses"], save["if"]) == ("actions/cache@v4", "inputs.save-cache == 'true'")
    assert (restore["uses"], restore["if"]) == (
        "actions/cache/restore@v4",
        "inputs.save-cache != 'true'",
    )
    assert save["with"] == restore["with"]
    assert os.access(ACTION / "gate.sh", os.X_OK)


def test_the_documented_files_are_short_and_name_inputs_that_exist():
    """A file of another repository, for each workflow; each uses ours by its name and a ref."""
    gate, bench, comment = EXAMPLES
    (job,) = gate["jobs"].values()
    (used,) = [step for step in job["steps"] if "paritygate/.github" in step.get("uses", "")]

    assert all(
        len(part.partition("```")[0].splitlines()) < 25 for part in PAGE.split("```yaml\n")[1:]
    )
    assert used["uses"] == "OWNER/paritygate/.github/actions/paritygate@REF"
    assert set(used["with"]) <= set(workflows.read(ACTION / "action.yml")["inputs"])
    for example, name in ((bench, "bench-command"), (comment, "comment")):
        ours = workflows.workflow(name)
        (job,) = example["jobs"].values()
        assert job["uses"] == f"OWNER/paritygate/.github/workflows/{name}.yml@REF"
        inputs = (ours["on"]["workflow_call"] or {}).get("inputs", {})
        required = {key for key, row in inputs.items() if row.get("required")}
        assert required <= set(job.get("with", {})) <= set(inputs)
        wanted = {
            right: level
            for part in ours["jobs"].values()
            for right, level in sorted(permissions(ours, part).items())
        }
        assert permissions(example, job) == wanted  # a called workflow gets no more
        events = {event: row for event, row in ours["on"].items() if event != "workflow_call"}
        assert set(example["on"]) == set(events)
    assert {key: bench["on"][key] for key in bench["on"]} == {
        key: row
        for key, row in workflows.workflow("bench-command")["on"].items()
        if key in bench["on"]
    }
    assert comment["on"]["workflow_run"]["workflows"] == [gate["name"], bench["name"]]


def test_the_page_names_every_input():
    rows = re.findall(r"^\| `([a-z][a-z-]*)` \|", PAGE, re.MULTILINE)
    inputs = workflows.read(ACTION / "action.yml")["inputs"]
    inputs |= workflows.workflow("bench-command")["on"]["workflow_call"]["inputs"]

    assert set(rows) == set(inputs)


def test_the_page_names_every_option_of_a_request():
    rows = set(re.findall(r"^\| `(--?[a-z-]+)", PAGE, re.MULTILINE))

    assert rows == set(bench_command.BY_NAME)
    assert rows <= {option for option, *_ in options.OPTIONS} | {"-k", "--bench-all"}
