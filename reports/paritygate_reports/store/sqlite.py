"""SQLite: opens a store in a file, and checks whether a file can be one."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from paritygate_reports.store.errors import WAIT_SECONDS, StoreError, advice
from paritygate_reports.store.urls import shown

READING: Mapping[str, Any] = {}  # every transaction sees one state of the file
APART = "use a file of its own"


def engine(url: sa.URL, make: bool, /) -> sa.Engine:
    """Return the engine for a file. With ``make`` it need not exist. Raises ``StoreError`` if it
    cannot be a store.
    """
    name = shown(url)
    if not url.database or url.database == ":memory:":
        raise StoreError("a store in memory keeps nothing; give the path of a file")
    path = Path(url.database)
    if not make and not path.exists():
        raise StoreError(f"there is no store {name}: run some cells first, or give another path")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"the folder of {name} cannot be made: {error.strerror}") from error
    if _cut_short(path):
        raise StoreError(f"store {name}: it ends inside a page. {advice('malformed')}")
    made = _engine(url)
    if make and (not path.exists() or path.stat().st_size == 0):
        _write_ahead(made)
    return made


def lock(connection: sa.Connection) -> None:
    """Do nothing: a writing transaction locks the whole file."""


def _engine(url: sa.URL) -> sa.Engine:
    made = sa.create_engine(url, poolclass=NullPool, connect_args={"timeout": WAIT_SECONDS})

    @sa.event.listens_for(made, "connect")
    def _connected(connection: Any, _: Any) -> None:
        # sqlite3 begins transactions late, and none for CREATE TABLE
        connection.isolation_level = None
        # data survives kill -9; a power cut may lose the last transactions
        connection.execute("PRAGMA synchronous=NORMAL")

    @sa.event.listens_for(made, "begin")
    def _begun(connection: sa.Connection) -> None:
        # A writer locks at once: a reader that became a writer later would be refused instead of
        # waiting.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return made


def _write_ahead(made: sa.Engine) -> None:
    """Put a new file into WAL mode, in which readers never wait. The file keeps that mode.

    SQLite does not wait for other processes in this one statement, so this function does.
    """
    end = time.monotonic() + WAIT_SECONDS
    while True:
        connection = made.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.Error as error:  # a raw connection raises sqlite3's errors
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)
        finally:
            connection.close()


def _cut_short(path: Path) -> bool:
    """Return whether the file ends inside a page. SQLite itself would fill the page with zeros and
    go on.
    """
    if not path.exists() or any(
        Path(f"{path}{suffix}").exists() for suffix in ("-wal", "-journal")
    ):
        return False  # a process is writing, or SQLite will repair the file of a killed one
    with path.open("rb") as file:
        header = file.read(18)
    page = int.from_bytes(header[16:], "big")
    return (
        header.startswith(b"SQLite format 3\0") and page >= 512 and path.stat().st_size % page != 0
    )
