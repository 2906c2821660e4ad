"""A GitHub of one pull request: a real HTTP server, which records every call."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

REPOSITORY, NUMBER, TOKEN = "octo/cells", 7, "a-token"
HEAD, BASE, LATER = "a" * 40, "b" * 40, "c" * 40
ASKED, BEFORE, AFTER = "2026-05-04T12:00:00Z", "2026-05-04T11:59:59Z", "2026-05-04T12:00:01Z"


class GitHub:
    """What is there: ``pull``, ``permissions`` by login, ``comments``. ``writes`` are the calls that
    changed something, as (method, path, fields).
    """

    def __init__(self):
        self.permissions = {"owner": "admin", "friend": "write", "reader": "read"}
        self.pull = {
            "state": "open",
            "head": {"sha": HEAD, "repo": {"full_name": "fork/cells", "pushed_at": BEFORE}},
            "base": {"sha": BASE},
        }
        self.comments = []
        self.calls, self.writes = [], []
        self.broken = None  # calls whose path has this in it end with 500

    def comment(self, body, *, kind="Bot"):
        self.comments.append(
            {"id": 1000 + len(self.comments), "user": {"type": kind}, "body": body}
        )
        return self.comments[-1]["id"]

    def answer(self, method, path, fields):
        self.calls.append((method, path))
        if self.broken is not None and self.broken in path:
            return 500, {"message": "broken"}
        if method != "GET":
            self.writes.append((method, path, fields))
            if method == "POST" and path == f"issues/{NUMBER}/comments":
                self.comment(fields["body"])
            if method == "PATCH":
                number = int(path.rpartition("/")[2])
                (old,) = [one for one in self.comments if one["id"] == number]
                old["body"] = fields["body"]
            return 201, {}
        if path == f"pulls/{NUMBER}":
            return 200, self.pull
        if match := re.fullmatch(r"collaborators/([^/]+)/permission", path):
            level = self.permissions.get(match[1])
            return (404, {}) if level is None else (200, {"permission": level})
        if match := re.fullmatch(rf"issues/{NUMBER}/comments\?per_page=(\d+)&page=(\d+)", path):
            size, page = int(match[1]), int(match[2])
            return 200, self.comments[size * (page - 1) : size * page]
        return 404, {"message": "Not Found"}


@pytest.fixture
def github():
    hub = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def handle_call(self):
            text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            root, authorized = f"/repos/{REPOSITORY}/", f"Bearer {TOKEN}"
            if self.headers["Authorization"] != authorized or not self.path.startswith(root):
                status, answer = 401, {}
            else:
                path = self.path.removeprefix(root)
                status, answer = hub.answer(self.command, path, json.loads(text or "null"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_GET = do_POST = do_PATCH = handle_call

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.environment = {
        "GITHUB_API_URL": f"http://127.0.0.1:{server.server_port}",
        "GITHUB_REPOSITORY": REPOSITORY,
    }
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()
