"""Store: runs and their records in a database: a SQLite file, or the database of a URL."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from paritygate.core.record import Record, Run
from paritygate_reports.files.jsontext import dumps, loads
from paritygate_reports.store.database import Database, StoreError
from paritygate_reports.store.fields import (
    BULK,
    RECORD_JSON,
    RECORD_SCALARS,
    RUN_JSON,
    RUN_SCALARS,
    clean,
)
from paritygate_reports.store.schema import RECORDS, RUNS, SAMPLES

COMMIT_CHARACTERS = 7  # as git abbreviates; fewer may be a branch's name
PART = 20_000  # rows that are fetched at once
LISTED = "paritygate runs lists all runs"
# by dialect: SQLAlchemy's general insert has no ON CONFLICT
INSERT: dict[str, Callable[[sa.Table], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


class Store:
    """Runs and records in a database, given as for ``Database``. Every method raises
    ``StoreError``.
    """

    def __init__(self, url: str | Path, make: bool = True) -> None:
        self.url = url
        self._database = Database(url, make)
        self.name = self._database.name

    def write(self, run: Run, record: Record) -> None:
        """Store one record in one transaction. It replaces the same cell of the same run."""
        self.write_runs([(run, [record])])

    def write_runs(self, runs: Iterable[tuple[Run, Iterable[Record]]]) -> None:
        """Store whole runs, all in one transaction. Existing cells are replaced."""
        # The oldest first, and each run before its records: processes that lock rows in the same order
        # cannot deadlock.
        ordered = sorted(runs, key=lambda pair: (pair[0].started, pair[0].id))
        with self._database.writing() as connection:
            for run, records in ordered:
                _upsert(connection, RUNS, ["id"], [_row(run, RUN_SCALARS, RUN_JSON)])
                _put(connection, clean(run.id), records)

    def remove(self, run_ids: Sequence[str]) -> None:
        """Remove runs with all their records and samples, in one transaction. Raises if a run does
        not exist.
        """
        with self._database.writing() as connection:
            for run_id in map(clean, run_ids):
                if (
                    connection.scalar(
                        sa.select(RUNS.c.number).where(RUNS.c.id == run_id).with_for_update()
                    )
                    is None
                ):
                    raise StoreError(
                        f"{self.name} has no run {run_id!r}; nothing was removed; {LISTED}"
                    )
                numbers = sa.select(RECORDS.c.number).where(RECORDS.c.run_id == run_id)
                connection.execute(SAMPLES.delete().where(SAMPLES.c.record_number.in_(numbers)))
                connection.execute(RECORDS.delete().where(RECORDS.c.run_id == run_id))
                connection.execute(RUNS.delete().where(RUNS.c.id == run_id))

    def runs(self) -> list[Run]:
        """Return all runs, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                sa.select(RUNS).order_by(RUNS.c.started, RUNS.c.number)
            ).mappings()
            return [_run(row) for row in rows]

    def run(self, run_id: str) -> Run:
        """Return the run with that id. Raises ``StoreError`` if there is none."""
        with self._database.reading() as connection:
            row = (
                connection.execute(sa.select(RUNS).where(RUNS.c.id == clean(run_id)))
                .mappings()
                .first()
            )
        if row is None:
            raise StoreError(f"{self.name} has no run {run_id!r}; {LISTED}")
        return _run(row)

    def find(self, name: str) -> Run:
        """Return the run with that name: the first characters of its id or commit, a branch, or
        "latest".

        If several runs have the commit or branch, it is the newest. Raises ``StoreError`` if no run
        matches, or several ids do.
        """
        runs = self.runs()
        if not runs:
            raise StoreError(f"{self.name} has no run yet: measure some cells first")
        if name == "latest":
            return runs[-1]
        if by_id := [run for run in runs if run.id == name] or [
            run for run in runs if run.id.startswith(name)
        ]:
            if len(by_id) > 1:
                raise StoreError(
                    f"{name!r} begins the ids of {len(by_id)} runs, give more of it: "
                    f"{', '.join(run.id for run in by_id[:5])}"
                )
            return by_id[0]
        for run in reversed(runs):
            if name == run.branch or (
                len(name) >= COMMIT_CHARACTERS and (run.commit or "").startswith(name)
            ):
                return run
        raise StoreError(
            f"{self.name} has no run {name!r}: give the first characters of an id, a commit, a branch, "
            "or latest"
        )

    def outcomes(self) -> dict[str, dict[str, int]]:
        """Return how the cells of each run ended: run id -> status -> number of cells."""
        counted = sa.select(RECORDS.c.run_id, RECORDS.c.status, sa.func.count()).group_by(
            RECORDS.c.run_id, RECORDS.c.status
        )
        counts: dict[str, dict[str, int]] = {}
        with self._database.reading() as connection:
            for run_id, status, count in connection.execute(
                counted.order_by(sa.func.count().desc())
            ):
                counts.setdefault(run_id, {})[status] = count
        return counts

    def records(self, run_id: str, samples: bool = False) -> list[Record]:
        """Return the records of a run in the order in which they were first written. Without
        ``samples`` the samples stay empty.
        """
        wanted = sa.select(RECORDS, *(SAMPLES.c[name] for name in BULK if samples))
        if samples:
            wanted = wanted.join(SAMPLES, SAMPLES.c.record_number == RECORDS.c.number, isouter=True)
        wanted = wanted.where(RECORDS.c.run_id == clean(run_id)).order_by(RECORDS.c.number)
        with self._database.reading() as connection:
            return [_record(row) for row in connection.execute(wanted).mappings()]

    @contextmanager
    def selected(
        self,
        of_record: Sequence[str],
        *,
        run: str | None = None,
        case: str = "*",
        target: str = "*",
        branch: str | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> Iterator[tuple[dict[int, Run], Iterator[Sequence[Sequence[Any]]]]]:
        """Yield the selected runs by their number, the oldest first, and their rows in parts of
        ``PART`` rows, as first written.

        A row is the number of its run and the fields ``of_record`` of a record, so the fields of a
        run are not repeated for each cell. The filters are those of
        ``paritygate_reports.frame.load``; times are in the form of the store.
        """
        described = sa.and_(
            sa.true() if run is None else RUNS.c.id == clean(run),
            sa.true() if branch is None else RUNS.c.branch == clean(branch),
            sa.true() if since is None else RUNS.c.started >= since,
            sa.true() if until is None else RUNS.c.started < until,
        )
        targeted = RECORDS.c.device + "-" + RECORDS.c.backend + "-" + RECORDS.c.dtype
        with self._database.reading() as connection:
            selected = connection.execute(
                sa.select(RUNS).where(described).order_by(RUNS.c.started, RUNS.c.number)
            )
            runs = {row["number"]: _run(row) for row in selected.mappings()}
            rows = (
                sa.select(RUNS.c.number, *(RECORDS.c[name] for name in of_record))
                .join_from(RUNS, RECORDS, RUNS.c.id == RECORDS.c.run_id)
                .where(
                    described,
                    _matching(connection, RECORDS.c.case, case),
                    _matching(connection, targeted, target),
                )
                .order_by(
                    RECORDS.c.number
                )  # in stored order: sorting a million rows takes longer than reading them
            )
            yield runs, connection.execution_options(yield_per=PART).execute(rows).partitions()


def _matching(
    connection: sa.Connection, column: sa.ColumnElement[str], pattern: str
) -> sa.ColumnElement[bool]:
    """Return the condition that a column matches a pattern with ``*`` and ``?``. LIKE would ignore
    case in some databases.
    """
    if pattern == "*":
        return sa.true()
    values = connection.scalars(sa.select(column).distinct())
    return column.in_([value for value in values if fnmatchcase(value, pattern)])


def _upsert(
    connection: sa.Connection, table: sa.Table, key: Sequence[str], rows: Sequence[dict[str, Any]]
) -> None:
    """Insert rows, or update those whose key exists.

    It is one statement, because another process may insert the same row between a look and an
    insert.
    """
    insert = INSERT[connection.dialect.name](table)
    others = {name: insert.excluded[name] for name in rows[0] if name not in key}
    connection.execute(insert.on_conflict_do_update(index_elements=key, set_=others), rows)


def _put(connection: sa.Connection, run_id: str, records: Iterable[Record]) -> None:
    """Write the records of a run, which this transaction has locked. A later record of a cell
    replaces an earlier one.
    """
    cells = {clean(record.cell): record for record in records}
    if not cells:
        return
    rows = [
        _row(record, RECORD_SCALARS, RECORD_JSON)
        | {"run_id": run_id, "nan_fields": dumps(_nans(record))}
        for record in cells.values()
    ]
    _upsert(connection, RECORDS, ["run_id", "cell"], rows)
    # no RETURNING: it makes one statement with thousands of values, for which psycopg needs half a
    # millisecond for each row
    written = sa.select(RECORDS.c.number, RECORDS.c.cell).where(
        RECORDS.c.run_id == run_id, RECORDS.c.cell.in_(cells)
    )
    bulk = [
        {"record_number": number} | {name: dumps(getattr(cells[cell], name)) for name in BULK}
        for number, cell in connection.execute(written)
    ]
    _upsert(connection, SAMPLES, ["record_number"], bulk)


def _row(thing: Run | Record, scalars: dict[str, type], jsons: tuple[str, ...]) -> dict[str, Any]:
    """Return the columns of a run or a record. NaN becomes NULL, as SQLite would store it."""
    values = {name: getattr(thing, name) for name in scalars}
    texts = {name: clean(value) for name, value in values.items() if isinstance(value, str)}
    unknown = {
        name: None
        for name, value in values.items()
        if isinstance(value, float) and math.isnan(value)
    }
    return values | texts | unknown | {name: dumps(getattr(thing, name)) for name in jsons}


def _nans(record: Record) -> list[str]:
    values = {name: getattr(record, name) for name in RECORD_SCALARS}
    return [
        name for name, value in values.items() if isinstance(value, float) and math.isnan(value)
    ]


def _run(row: Any) -> Run:
    return Run(
        **{name: row[name] for name in RUN_SCALARS}, **{name: loads(row[name]) for name in RUN_JSON}
    )


def _record(row: Any) -> Record:
    values = {name: row[name] for name in RECORD_SCALARS}
    values |= dict.fromkeys(loads(row["nan_fields"]), math.nan)
    values |= {
        name: loads(row[name]) for name in (*RECORD_JSON, *BULK) if row.get(name) is not None
    }
    return Record.from_dict(values)
