"""Store: runs and their records in a database; a SQLite file unless a URL says otherwise.

Four tables: ``paritygate_schema`` (one row: the version), ``runs``, ``records`` (a row a cell) and
``samples`` (apart, so that summaries load without them). The columns are the fields of Run and Record.
"""

from __future__ import annotations

import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from bench.record import SCHEMA, Record, Run
from reports.fields import BULK, RECORD_JSON, RECORD_SCALARS, RUN_JSON, RUN_SCALARS, clean
from reports.jsontext import dumps, loads

COMMIT_CHARACTERS = 7  # as git abbreviates; fewer may be a branch's name
PART = 20_000  # rows that are fetched at once
BUSY_SECONDS = 30  # how long a writer waits for another one


class StoreError(Exception):
    """A store that cannot be opened, read or written: names it and says what to do. Nothing was changed."""


# JSON is kept as text: PostgreSQL's own JSON refuses what Python's strings may hold; nothing queries it.
_TYPE = {str: sa.Text, int: sa.BigInteger, float: sa.Double, bool: sa.Boolean}
_META = sa.MetaData()


def _columns(scalars: dict[str, type], jsons: tuple[str, ...]) -> list[sa.Column[Any]]:
    plain: list[sa.Column[Any]] = [sa.Column(name, _TYPE[kind]) for name, kind in scalars.items()]
    return plain + [sa.Column(name, sa.Text) for name in jsons]


def _key() -> sa.Column[int]:
    # SQLite numbers rows by itself for INTEGER only
    return sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True)


VERSION = sa.Table("paritygate_schema", _META, sa.Column("version", sa.Integer, nullable=False))
RUNS = sa.Table("runs", _META, _key(), *_columns(RUN_SCALARS, RUN_JSON), sa.UniqueConstraint("id"))
RECORDS = sa.Table(
    "records",
    _META,
    _key(),
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), nullable=False),
    *_columns(RECORD_SCALARS, RECORD_JSON),
    sa.Column("nan_fields", sa.Text),  # the scalars that were NaN, which SQLite turns into NULL
    sa.UniqueConstraint("run_id", "cell"),
)
SAMPLES = sa.Table(
    "samples",
    _META,
    sa.Column("record_number", sa.ForeignKey("records.number"), primary_key=True, autoincrement=False),
    *_columns({}, BULK),
)


def _gate_columns(connection: sa.Connection) -> None:
    """1 -> 2: the verdict of a comparison."""
    names = ("verdict", "verdict_reason", "effect", "effect_low", "effect_high", "effect_sd", "detectable", "findings")
    for column in (RECORDS.c[name] for name in names):
        kind = column.type.compile(connection.dialect)
        connection.execute(sa.text(f"ALTER TABLE records ADD COLUMN {column.name} {kind}"))
    connection.execute(RECORDS.update().values(verdict="", verdict_reason="", findings="[]"))


MIGRATIONS: dict[int, Callable[[sa.Connection], None]] = {1: _gate_columns}
"""Version -> what turns such a store into one of the next version; all steps run in one transaction."""


class Store:
    """Runs and records in a database. Keeps no connection open between calls; processes may write at once.

    ``url`` is a path of a SQLite file, or a URL that SQLAlchemy knows. The file is made where ``make``
    is true; otherwise a missing one raises. Every method raises ``StoreError`` for what the database says.
    """

    def __init__(self, url: str | Path, make: bool = True) -> None:
        self.url = url
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

    def write(self, run: Run, record: Record) -> None:
        """Stores one record in one transaction; the same cell of the same run is replaced."""
        self.write_runs([(run, [record])])

    def write_runs(self, runs: Iterable[tuple[Run, Iterable[Record]]]) -> None:
        """Stores whole runs, all of them in one transaction; cells that are there already are replaced."""
        with self._told(), self._writing() as connection:
            for run, records in runs:
                _upsert(connection, RUNS, {"id": run.id}, _row(run, RUN_SCALARS, RUN_JSON))
                for record in records:
                    _put(connection, run, record)

    def remove(self, run_ids: Sequence[str]) -> None:
        """Removes runs with all their records and samples, in one transaction; raises where one is not there."""
        with self._told(), self._writing() as connection:
            for run_id in run_ids:
                numbers = sa.select(RECORDS.c.number).where(RECORDS.c.run_id == run_id)
                connection.execute(SAMPLES.delete().where(SAMPLES.c.record_number.in_(numbers)))
                connection.execute(RECORDS.delete().where(RECORDS.c.run_id == run_id))
                if not connection.execute(RUNS.delete().where(RUNS.c.id == run_id)).rowcount:
                    raise StoreError(f"{self.name} has no run {run_id!r}; nothing was removed")

    def runs(self) -> list[Run]:
        """All runs, the oldest first."""
        with self._told(), self._engine.connect() as connection:
            rows = connection.execute(sa.select(RUNS).order_by(RUNS.c.started, RUNS.c.number)).mappings()
            return [_run(row) for row in rows]

    def run(self, run_id: str) -> Run:
        """The run with that id; raises ``StoreError`` where there is none."""
        with self._told(), self._engine.connect() as connection:
            row = connection.execute(sa.select(RUNS).where(RUNS.c.id == run_id)).mappings().first()
        if row is None:
            raise StoreError(f"{self.name} has no run {run_id!r}")
        return _run(row)

    def find(self, name: str) -> Run:
        """The run that a person means: the first characters of its id or commit, a branch, or "latest".

        Of several runs of a commit or branch the newest. Raises ``StoreError`` where none or more than one is meant.
        """
        runs = self.runs()
        if not runs:
            raise StoreError(f"{self.name} has no run yet: measure some cells first")
        if name == "latest":
            return runs[-1]
        if by_id := [run for run in runs if run.id.startswith(name)]:
            if len(by_id) > 1:
                raise StoreError(f"{name!r} begins the ids of {len(by_id)} runs, give more of it: "
                                 f"{', '.join(run.id for run in by_id[:5])}")  # fmt: skip
            return by_id[0]
        for run in reversed(runs):
            if name == run.branch or (len(name) >= COMMIT_CHARACTERS and (run.commit or "").startswith(name)):
                return run
        raise StoreError(f"{self.name} has no run {name!r}: give the first characters of an id, a commit, a branch, "
                         "or latest")  # fmt: skip

    def outcomes(self) -> dict[str, dict[str, int]]:
        """How the cells of each run ended: run id -> status -> how many."""
        counted = sa.select(RECORDS.c.run_id, RECORDS.c.status, sa.func.count()).group_by(
            RECORDS.c.run_id, RECORDS.c.status
        )
        found: dict[str, dict[str, int]] = {}
        with self._told(), self._engine.connect() as connection:
            for run_id, status, count in connection.execute(counted.order_by(sa.func.count().desc())):
                found.setdefault(run_id, {})[status] = count
        return found

    def latest_run(self) -> Run | None:
        """The run that started last, or None in an empty store."""
        with self._told(), self._engine.connect() as connection:
            newest = sa.select(RUNS).order_by(RUNS.c.started.desc(), RUNS.c.number.desc()).limit(1)
            row = connection.execute(newest).mappings().first()
            return None if row is None else _run(row)

    def records(self, run_id: str, samples: bool = False) -> list[Record]:
        """The records of a run in the order they were first written; without ``samples`` these stay empty."""
        wanted = sa.select(RECORDS, *(SAMPLES.c[name] for name in BULK if samples))
        if samples:
            wanted = wanted.join(SAMPLES, SAMPLES.c.record_number == RECORDS.c.number, isouter=True)
        wanted = wanted.where(RECORDS.c.run_id == run_id).order_by(RECORDS.c.number)
        with self._told(), self._engine.connect() as connection:
            return [_record(row) for row in connection.execute(wanted).mappings()]

    def select(
        self,
        of_record: Sequence[str],
        of_run: Callable[[Run], Mapping[str, Any]],
        *,
        run: str | None = None,
        case: str = "*",
        target: str = "*",
        branch: str | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Iterator[list[dict[str, Any]]]:
        """Rows in parts of ``PART``, as name -> value: those fields of a record, and what ``of_run`` says of its run.

        ``of_run`` is asked once a run. The others as in ``reports.frame.load``, times as the store has them.
        """
        described = sa.and_(
            sa.true() if run is None else RUNS.c.id == run,
            sa.true() if branch is None else RUNS.c.branch == branch,
            sa.true() if since is None else RUNS.c.started >= since,
            sa.true() if until is None else RUNS.c.started < until,
        )
        targeted = RECORDS.c.device + "-" + RECORDS.c.backend + "-" + RECORDS.c.dtype
        rows = (
            sa.select(RECORDS.c.run_id.label("_run"), *(RECORDS.c[name] for name in of_record))
            .join(RUNS, RUNS.c.id == RECORDS.c.run_id)
            .where(described)
            .order_by(RUNS.c.started, RUNS.c.number, RECORDS.c.number)
        )
        with self._told(), self._engine.connect() as connection:
            rows = rows.where(_matching(connection, RECORDS.c.case, case), _matching(connection, targeted, target))
            runs = {
                row["id"]: dict(of_run(_run(row)))
                for row in connection.execute(sa.select(RUNS).where(described)).mappings()
            }
            for part in connection.execution_options(yield_per=PART).execute(rows).mappings().partitions():
                yield [runs[row["_run"]] | dict(row) for row in part]

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
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
        with self._engine.connect() as connection:
            version = self._version(connection)
        if version == SCHEMA:
            return
        if version is None and make and self._engine.dialect.name == "sqlite":
            self._write_ahead()
        with self._writing() as connection:
            version = self._version(connection)  # again: another process may have been faster
            if version is None:
                _META.create_all(connection)
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


def _matching(connection: sa.Connection, column: sa.ColumnElement[str], pattern: str) -> sa.ColumnElement[bool]:
    """Whether the column matches a pattern with ``*`` and ``?``; LIKE would ignore case in some databases."""
    if pattern == "*":
        return sa.true()
    values = connection.scalars(sa.select(column).distinct())
    return column.in_([value for value in values if fnmatchcase(value, pattern)])


def _upsert(connection: sa.Connection, table: sa.Table, key: dict[str, Any], row: dict[str, Any]) -> int:
    """Inserts the row or updates the one with that key; returns its primary key."""
    (primary,) = table.primary_key.columns
    same = sa.and_(*(table.c[name] == value for name, value in key.items()))
    number = connection.scalar(sa.select(primary).where(same))
    if number is None:
        connection.execute(table.insert().values(row))
        number = connection.scalar(sa.select(primary).where(same))
    else:
        connection.execute(table.update().where(same).values(row))
    assert number is not None  # it was there, or has just been inserted
    return int(number)


def _put(connection: sa.Connection, run: Run, record: Record) -> None:
    row = _row(record, RECORD_SCALARS, RECORD_JSON) | {"run_id": run.id, "nan_fields": dumps(_nans(record))}
    number = _upsert(connection, RECORDS, {"run_id": run.id, "cell": row["cell"]}, row)
    bulk = {"record_number": number} | {name: dumps(getattr(record, name)) for name in BULK}
    _upsert(connection, SAMPLES, {"record_number": number}, bulk)


def _row(thing: Run | Record, scalars: dict[str, type], jsons: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(thing, name) for name in scalars}
    texts = {name: clean(value) for name, value in values.items() if isinstance(value, str)}
    return values | texts | {name: dumps(getattr(thing, name)) for name in jsons}


def _nans(record: Record) -> list[str]:
    values = {name: getattr(record, name) for name in RECORD_SCALARS}
    return [name for name, value in values.items() if isinstance(value, float) and math.isnan(value)]


def _run(row: Any) -> Run:
    return Run(**{name: row[name] for name in RUN_SCALARS}, **{name: loads(row[name]) for name in RUN_JSON})


def _record(row: Any) -> Record:
    values = {name: row[name] for name in RECORD_SCALARS}
    values |= dict.fromkeys(loads(row["nan_fields"]), math.nan)
    values |= {name: loads(row[name]) for name in (*RECORD_JSON, *BULK) if row.get(name) is not None}
    return Record.from_dict(values)


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
