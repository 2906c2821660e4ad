"""Database: opens, makes, migrates or refuses the tables of a store. Its errors come with
advice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from paritygate.core.record import SCHEMA
from paritygate_reports.store import postgresql, sqlite, urls
from paritygate_reports.store.errors import StoreError, advice
from paritygate_reports.store.schema import MIGRATIONS, TABLES, VERSION

__all__ = ["Database", "StoreError"]


class Dialect(Protocol):
    """The operations that differ between databases."""

    READING: Mapping[str, Any]  # SQLAlchemy's options for a transaction that reads
    APART: str  # advice: where to put a store if this database holds other tables

    def engine(self, url: sa.URL, make: bool, /) -> sa.Engine:
        """Return the engine for a store. With ``make`` the store need not exist."""

    def lock(self, connection: sa.Connection) -> None:
        """Keep other processes from making or migrating the tables until the transaction ends."""


DIALECTS: Mapping[str, Dialect] = {"sqlite": sqlite, urls.POSTGRESQL: postgresql}


class Database:
    """A database of this schema. Keeps no connection open between calls; several processes may
    write at once.

    ``url`` is a path of a SQLite file, or a URL of either database. With ``make`` tables, and a
    SQLite file, are made; without it a missing store raises. Every error of the database raises
    ``StoreError``, here and in the two blocks. No message and no ``name`` contains a password.
    """

    def __init__(self, url: str | Path, make: bool = True) -> None:
        self._url = urls.parsed(url)
        self.name = urls.shown(self._url)
        self._dialect = DIALECTS[self._url.drivername]
        with self._store_errors():
            self._engine = self._dialect.engine(self._url, make)
        self._open(make)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a connection for a block that reads. All of the block sees one state of the
        store.
        """
        with self._store_errors(), self._engine.connect() as connection:
            yield connection.execution_options(**self._dialect.READING)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a connection for a block that writes. If the block raises, nothing is written."""
        with self._store_errors(), self._engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        """Turn errors of the database into a ``StoreError`` that says what to do, without
        secrets.
        """
        try:
            yield
        except (
            sa.exc.SQLAlchemyError,
            sqlite3.Error,
            ImportError,
            ValueError,
            OverflowError,
        ) as error:
            cause = getattr(error, "orig", None) or error
            plain = " ".join(str(cause).split())
            message = urls.masked(self._url, plain)
            what = f"{getattr(cause, 'sqlstate', None) or ''} {message}"
            # a traceback prints the cause: never attach one with a password
            raise StoreError(f"store {self.name}: {message}. {advice(what)}") from (
                error if message == plain else None
            )

    def _open(self, make: bool) -> None:
        """Check that this is a store of our schema. Make or migrate it if needed."""
        with self.reading() as connection:
            version = self._version(connection)
        if version == SCHEMA:
            return
        if version is None and not make:
            raise StoreError(
                f"there is no store in {self.name} yet: run some cells first, or give another one"
            )
        with self.writing() as connection:
            self._dialect.lock(connection)
            version = self._version(connection)  # again: another process may have changed it
            if version is None:
                TABLES.create_all(connection)
                connection.execute(VERSION.insert().values(version=SCHEMA))
            elif version < SCHEMA:
                self._migrate(connection, version)

    def _migrate(self, connection: sa.Connection, version: int) -> None:
        """Bring the tables up to date, step by step."""
        for step in range(version, SCHEMA):
            if step not in MIGRATIONS:
                raise StoreError(
                    f"{self.name} has schema {version} and nothing leads from {step} "
                    f"to {step + 1}; read it with the paritygate that wrote it"
                )
            MIGRATIONS[step](connection)
        connection.execute(VERSION.update().values(version=SCHEMA))

    def _version(self, connection: sa.Connection) -> int | None:
        """Return the store's schema version, None for an empty database. Raises ``StoreError`` for
        foreign tables or a newer version.
        """
        tables = sa.inspect(connection).get_table_names()
        if not tables:
            return None
        if VERSION.name not in tables:
            raise StoreError(
                f"{self.name} is a database of something else (it has {', '.join(sorted(tables)[:5])}); "
                f"nothing was changed: {self._dialect.APART}"
            )
        version = connection.scalar(sa.select(VERSION.c.version))
        if version is None or version > SCHEMA:
            raise StoreError(
                f"{self.name} has schema {version}, but this paritygate knows only those up to {SCHEMA}; "
                "nothing was changed: update paritygate, or give another --bench-store"
            )
        return int(version)
