"""Database: where a store keeps its tables; opened, made, migrated or refused, and its errors told with advice."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from bench.record import SCHEMA
from reports.schema import MIGRATIONS, TABLES, VERSION

BUSY_SECONDS = 30  # how long a writer waits for another one


class StoreError(Exception):
    """A store that cannot be opened, read or written: names it and says what to do. Nothing was changed."""


class Database:
    """A database of this schema. Keeps no connection open between calls; processes may write at once.

    ``url`` is a path of a SQLite file, or a URL that SQLAlchemy knows. The file is made where ``make`` is true;
    otherwise a missing one raises. Raises ``StoreError`` for whatever the database says, here and in the two blocks.
    """

    def __init__(self, url: str | Path, make: bool = True) -> None:
        self._url = _parsed(url)
        self.name = _name(self._url)
        path = Path(self._url.database or "") if self._url.drivername.startswith("sqlite") else None
        if path is not None:
            if not self._url.database or self._url.database == ":memory:":
                raise StoreError("a store in memory keeps nothing; give the path of a file")
            if not make and not path.exists():
                raise StoreError(f"there is no store {self.name}: run some cells first, or give another path")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"the folder of {self.name} cannot be made: {error.strerror}") from error
            if _cut_short(path):
                raise StoreError(f"store {self.name}: {_advice('malformed')}")
        with self._told():
            self._engine = _engine(self._url)
        self._open(make)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection for a block that reads."""
        with self._told(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection for a block that writes: all of it or, where it raises, nothing."""
        with self._told(), self._engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turns what the database raises into a ``StoreError`` that says what to do, without secrets."""
        try:
            yield
        except (sa.exc.SQLAlchemyError, sqlite3.Error, ImportError, ValueError) as error:
            what = str(getattr(error, "orig", None) or error)
            if self._url.password:
                what = what.replace(str(self._url.password), "***")
            raise StoreError(f"store {self.name}: {what}. {_advice(what)}") from error

    def _open(self, make: bool) -> None:
        """Checks that this is a store of our schema, and makes or migrates it where that can be done."""
        with self.reading() as connection:
            version = self._version(connection)
        if version == SCHEMA:
            return
        if version is None and make and self._engine.dialect.name == "sqlite":
            self._write_ahead()
        with self.writing() as connection:
            version = self._version(connection)  # again: another process may have been faster
            if version is None:
                TABLES.create_all(connection)
                connection.execute(VERSION.insert().values(version=SCHEMA))
                return
            for step in range(version, SCHEMA):
                if step not in MIGRATIONS:
                    raise StoreError(
                        f"{self.name} has schema {version} and nothing leads from {step} "
                        f"to {step + 1}; read it with the paritygate that wrote it"
                    )
                MIGRATIONS[step](connection)
            connection.execute(VERSION.update().values(version=SCHEMA))

    def _version(self, connection: sa.Connection) -> int | None:
        """The schema of the store, None where there is nothing at all; raises for a foreign or newer one."""
        tables = sa.inspect(connection).get_table_names()
        if not tables:
            return None
        if VERSION.name not in tables:
            raise StoreError(
                f"{self.name} is a database of something else (it has "
                f"{', '.join(sorted(tables)[:5])}); nothing was changed: "
                "give a file or a database of its own"
            )
        version = connection.scalar(sa.select(VERSION.c.version))
        if version is None or version > SCHEMA:
            raise StoreError(
                f"{self.name} has schema {version}, known are those up to {SCHEMA}; "
                "nothing was changed: update paritygate, or give another --bench-store"
            )
        return int(version)

    def _write_ahead(self) -> None:
        """Puts a new SQLite file into WAL mode, in which readers never wait; the file remembers it.

        SQLite does not wait for others in this one statement, so we do.
        """
        end = time.monotonic() + BUSY_SECONDS
        while True:
            connection = self._engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.Error as error:  # raw: no SQLAlchemy in between
                if "locked" not in str(error) or time.monotonic() > end:
                    raise StoreError(f"store {self.name}: {error}. {_advice(str(error))}") from error
                time.sleep(0.02)
            finally:
                connection.close()


def _parsed(url: str | Path) -> sa.URL:
    text = str(url)
    if "://" not in text:
        return sa.URL.create("sqlite", database=text)
    try:
        return sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        # `from None`: SQLAlchemy's message repeats the URL with its password
        masked = re.sub(r"://.*@", "://***@", text).partition("?")[0]
        raise StoreError(
            f"{masked!r} is no URL of a database; give the path of a file, or dialect://user@host/name"
        ) from None


def _name(url: sa.URL) -> str:
    """What to call the store in front of people: a file's path, or the URL without password and query."""
    if url.drivername.startswith("sqlite"):
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def _cut_short(path: Path) -> bool:
    """Whether the file ends inside a page, which SQLite itself would fill up with zeros and go on."""
    if not path.exists() or any(Path(f"{path}{suffix}").exists() for suffix in ("-wal", "-journal")):
        return False  # somebody is writing, or SQLite will mend what a killed one left
    with path.open("rb") as file:
        header = file.read(18)
    page = int.from_bytes(header[16:], "big")
    return header.startswith(b"SQLite format 3\0") and page >= 512 and path.stat().st_size % page != 0


def _engine(url: sa.URL) -> sa.Engine:
    if not url.drivername.startswith("sqlite"):
        return sa.create_engine(url, poolclass=NullPool)
    engine = sa.create_engine(url, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # sqlite3 begins transactions late, and none for CREATE TABLE
        connection.execute("PRAGMA synchronous=NORMAL")  # survives kill -9; a power cut may take the last

    @sa.event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        # A writer locks at once: a reader that becomes a writer would be refused instead of waiting.
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _advice(what: str) -> str:
    """What to do about a message of the database."""
    for pattern, advice in (
        ("not a database", "Nothing was changed: give another --bench-store, or move that file away"),
        (
            "malformed",
            "The file is damaged, nothing was changed: `sqlite3 FILE .recover` saves what is left; "
            "move it away to start a new one",
        ),
        ("locked", f"Another process held it for {BUSY_SECONDS} s: wait, or give another --bench-store"),
        ("readonly|read-only|unable to open", "Give a --bench-store that can be written"),
        ("full", "Make room on the disk, or give another --bench-store"),
        ("No module named|load plugin", "Install the driver that the URL names"),
    ):
        if re.search(pattern, what):
            return advice
    return "Check the URL, or give another --bench-store"
