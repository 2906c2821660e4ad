"""A PostgreSQL server of the tests' own in a temporary folder, started at first use, with a fresh
database for each.
"""

from __future__ import annotations

import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

# here: pytester forgets what a test imports, which C extensions do not survive
if find_spec("psycopg") is not None:
    import psycopg

    import_module("sqlalchemy.dialects.postgresql.psycopg")

USER, PASSWORD = "tester", "hunter2/ü@"  # with what a URL must encode
ENCODED = "hunter2%2F%C3%BC%40"
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",  # nothing here is to survive a power cut; what a killed client leaves
    "synchronous_commit": "off",  # does not depend on them
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}


def binaries() -> Path | None:
    """The folder with initdb and postgres, the newest of Debian's; None where there is none."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(debian, key=lambda path: float(path.parts[-3]), default=None)
    found = shutil.which("initdb") or newest
    return Path(found).resolve().parent if found else None


class Server:
    """A running server, whose only user has a password."""

    def __init__(self, folder: Path, binary: Path) -> None:
        self._data, self._numbers = folder / "data", itertools.count()
        secret = folder / "password"
        secret.write_text(PASSWORD, "utf-8")
        # it refuses to run as root; Debian's package has made a user for it
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            self._as = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            for path in (folder, secret):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        made = [
            str(binary / "initdb"),
            "-D",
            str(self._data),
            "-U",
            USER,
            "--pwfile",
            str(secret),
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]
        subprocess.run(made, cwd=folder, check=True, capture_output=True, **self._as)
        self.port = _free_port()
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        command = [str(binary / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=log, **self._as
            )
        self._wait()

    def url(self, database: str = "postgres") -> str:
        """The URL of a database, with the password in it."""
        return f"postgresql+psycopg://{USER}:{ENCODED}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str, autocommit: bool = False) -> psycopg.Connection[Any]:
        """A connection past all of our own code."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            dbname=database,
            autocommit=autocommit,
        )

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """The rows that a statement gives."""
        with self.connect(database, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a database that holds nothing, gone after the block."""
        name = f"store{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        yield self.url(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        """End the server and those that are still connected."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)

    def _wait(self) -> None:
        end = time.monotonic() + 30
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(
                        f"PostgreSQL did not start: {self.log.read_text()}"
                    ) from None
                time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """The session's server. Without PostgreSQL on the machine its tests are skipped, in CI
    (``CI=true``) they fail.
    """
    binary = binaries()
    lacking = "psycopg: pip install -e '.[dev]'" if find_spec("psycopg") is None else ""
    if binary is None:
        lacking = "PostgreSQL: apt-get install postgresql (or put initdb on the PATH)"
    if binary is None or lacking:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        say(f"this test needs {lacking}; it starts a server of its own")
    # pytest's own is closed to other users
    folder = Path(tempfile.mkdtemp(prefix="paritygate-postgresql-"))
    try:
        server = Server(folder, binary)
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(name="database")
def _database(postgresql: Server) -> Iterator[str]:
    """The URL of a fresh PostgreSQL database."""
    with postgresql.database() as url:
        yield url


@pytest.fixture(name="url", params=["sqlite", "postgresql"])
def _url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be made: a test with this argument runs on both databases."""
    if request.param == "sqlite":
        return str(tmp_path / "s.sqlite")
    return str(request.getfixturevalue("database"))


def name_of(url: str) -> str:
    """The database that a URL names."""
    return re.sub(r".*/", "", url)
