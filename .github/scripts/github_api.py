"""The few calls of GitHub's REST API that a pull request's comments need. Standard library only."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

PAGE = 100  # comments a page, the most that GitHub gives


class ApiError(RuntimeError):
    """GitHub refused a call; ``status`` is that of HTTP."""

    def __init__(self, call: str, status: int, answer: str):
        super().__init__(f"{call}: status {status}: {answer[:200]}")
        self.status = status


def annotation(level: str, text: str) -> str:
    """Return the line of a log that GitHub shows beside the run; level: error, warning, notice."""
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{level} title=paritygate::{escaped}"


class Repository:
    """The repository that the workflow runs in, with the token of its job."""

    def __init__(self) -> None:
        self.name = os.environ["GITHUB_REPOSITORY"]
        self._url = os.environ.get("GITHUB_API_URL", "https://api.github.com")
        self._token = os.environ["GH_TOKEN"]

    def get(self, path: str) -> Any:
        """Return what is at a path below the repository's."""
        return self._call("GET", path)

    def post(self, path: str, **fields: str) -> None:
        """Make something new."""
        self._call("POST", path, fields)

    def put_comment(self, number: int, marker: str, text: str) -> None:
        """Edit the comment of a bot that begins with the marker, or else post one."""
        body = f"{marker}\n{text}"
        old = self._comment(number, marker)
        if old is None:
            self._call("POST", f"issues/{number}/comments", {"body": body})
        else:
            self._call("PATCH", f"issues/comments/{old}", {"body": body})

    def _comment(self, number: int, marker: str) -> int | None:
        page = 1
        while True:
            comments = self.get(f"issues/{number}/comments?per_page={PAGE}&page={page}")
            for comment in comments:
                if comment["user"]["type"] == "Bot" and (comment["body"] or "").startswith(marker):
                    return int(comment["id"])
            if len(comments) < PAGE:
                return None
            page += 1

    def _call(self, method: str, path: str, fields: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(
            f"{self._url}/repos/{self.name}/{path}",
            method=method,
            data=None if fields is None else json.dumps(fields).encode(),
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/json",
                "X-GitHub-Api-Version": "2022-11-28",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            answered = error.read().decode(errors="replace")
            raise ApiError(f"{method} {path}", error.code, answered) from None
        return json.loads(text) if text else None
