"""Decide about the comment that started this workflow: who asks for a run, and with which options.

Reads the event's file, so no text of the comment passes through a shell. An accepted request
becomes outputs of the step; a refused one is answered in a comment, and the step gives no outputs.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import urllib.parse
from pathlib import Path
from typing import Any

from bench_command import CommandError, is_command, parse, usage
from github_api import ApiError, Repository, annotation

MARKER = "<!-- paritygate request -->"
# triage and read are not enough: what is asked for is to run the pull request's code
MAY_ASK = ("admin", "maintain", "write")
SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class RefusedError(Exception):
    """The request is not granted. Its text says why, in one line."""


def granted(repository: Repository, event: dict[str, Any]) -> dict[str, str]:
    """Return the outputs of an accepted request. Raises RefusedError."""
    comment, number = event["comment"], int(event["issue"]["number"])
    login = str(comment["user"]["login"])
    if _permission(repository, login) not in MAY_ASK:
        raise RefusedError("only people with write access to this repository may ask for a run")
    try:
        arguments = parse(comment["body"])
    except CommandError as error:
        raise RefusedError(str(error)) from None

    pull = repository.get(f"pulls/{number}")
    head, base = pull["head"], pull["base"]
    if pull["state"] != "open":
        raise RefusedError("the pull request is closed")
    fork = head["repo"] is not None and head["repo"]["full_name"] != repository.name
    # both times are GitHub's own; whoever pushes chooses the dates of commits
    if fork and head["repo"]["pushed_at"] >= comment["created_at"]:
        raise RefusedError(
            "the fork was pushed to since the comment: look at what is new, then ask again"
        )
    for name, sha in (("head", head["sha"]), ("base", base["sha"])):
        if not SHA.fullmatch(sha):
            raise ApiError(f"pulls/{number}", 200, f"{name} {sha!r} is no commit")
    return {
        "number": str(number),
        "head": head["sha"],
        "base": base["sha"],
        "arguments": shlex.join(arguments),
        "asked": f"`{shlex.join(['/bench', *arguments])}` of {re.sub('[^A-Za-z0-9-]', '?', login)}",
    }


def write_outputs(outputs: dict[str, str], path: Path) -> None:
    """Write the step's outputs, a line each. A line break in one would be another output."""
    for name, value in outputs.items():
        if not value.isprintable():
            raise ValueError(f"output {name} has a line break or a control character: {value!r}")
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{name}={value}\n" for name, value in outputs.items())


def main() -> int:
    """Run the step. Only a failing API ends it with 1: a refusal is no failure of the workflow."""
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    if "pull_request" not in event["issue"] or not is_command(event["comment"]["body"]):
        print("This comment is no command.")
        return 0
    repository, number = Repository(), int(event["issue"]["number"])
    try:
        outputs = granted(repository, event)
    except RefusedError as error:
        print(annotation("warning", f"refused: {error}"))
        repository.put_comment(
            number, MARKER, f"Nothing was run: {error}.\n\n```\n{usage()}\n```\n"
        )
        return 0
    write_outputs(outputs, Path(os.environ["GITHUB_OUTPUT"]))
    try:
        repository.post(f"issues/comments/{int(event['comment']['id'])}/reactions", content="eyes")
    except ApiError as error:  # a courtesy
        print(annotation("warning", f"no reaction: {error}"))
    return 0


def _permission(repository: Repository, login: str) -> str:
    try:
        answer = repository.get(f"collaborators/{urllib.parse.quote(login, safe='')}/permission")
    except ApiError as error:
        if error.status == 404:  # nobody that GitHub knows here
            return "none"
        raise
    return str(answer["permission"])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ApiError as error:
        sys.exit(annotation("error", str(error)))
