"""A store is opened, made, migrated, or refused and left as it was.

Tests with the argument ``url`` run on SQLite and on PostgreSQL, the others are about SQLite's file.
"""

from __future__ import annotations

import os
import re
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from paritygate.core.record import SCHEMA
from paritygate_reports.store import database as database_module
from paritygate_reports.store.database import Database, StoreError
from paritygate_reports.store.schema import MIGRATIONS, RECORDS, TABLES, VERSION
from paritygate_reports.store.store import Store
from tests.support import history
from tests.support.paths import GOLDEN

RUN, RECORD = history.runs()[-1][0], history.EAGER


def set_version(url: str, version: int) -> None:
    with Database(url).writing() as connection:
        connection.execute(VERSION.update().values(version=version))


def test_a_newer_schema_is_refused_with_advice(url: str):
    Store(url).write(RUN, RECORD)
    set_version(url, SCHEMA + 1)
    with pytest.raises(
        StoreError, match=rf"has schema {SCHEMA + 1}.*nothing was changed: update paritygate"
    ):
        Store(url)


def test_a_newer_schema_is_refused_untouched(tmp_path: Path):
    path = tmp_path / "s.sqlite"
    Store(path).write(RUN, RECORD)
    set_version(str(path), SCHEMA + 1)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"s\.sqlite has schema"):
        Store(path)
    assert path.read_bytes() == before


def test_an_older_schema_is_migrated_step_by_step_or_not_at_all(url: str, monkeypatch):
    Store(url).write(RUN, RECORD)

    def step(connection: sa.Connection) -> None:
        connection.execute(RECORDS.update().values(reason=RECORDS.c.reason + "+"))

    monkeypatch.setattr(database_module, "SCHEMA", SCHEMA + 2)
    monkeypatch.setitem(MIGRATIONS, SCHEMA, step)
    with pytest.raises(StoreError, match=f"nothing leads from {SCHEMA + 1}"):
        Store(url)
    monkeypatch.setitem(MIGRATIONS, SCHEMA + 1, step)
    # the failed attempt left nothing behind
    assert Store(url, make=False).records(RUN.id)[0].reason == "++"
    assert Store(url).records(RUN.id)[0].reason == "++"


def test_the_columns_of_schema_2_are_added_to_a_store_of_schema_1(url: str):
    """The names are all that schema 1 lacks: add those of every later schema, or their migration
    finds them there ("duplicate column").
    """
    Store(url).write(RUN, replace(RECORD, throughput=5.0))
    with Database(url).writing() as connection:
        for name in (
            "verdict",
            "verdict_reason",
            "effect",
            "effect_low",
            "effect_high",
            "effect_sd",
            "detectable",
            "findings",
        ):
            connection.execute(sa.text(f"ALTER TABLE records DROP COLUMN {name}"))
        connection.execute(VERSION.update().values(version=1))
    assert Store(url).records(RUN.id) == [replace(RECORD, throughput=5.0)]
    Store(url).write(RUN, replace(RECORD, effect=0.1, findings=["a kernel"]))
    assert Store(url).records(RUN.id) == [replace(RECORD, effect=0.1, findings=["a kernel"])]


def test_a_store_of_schema_1_is_read_and_written_on(tmp_path: Path):
    """As the first version made it: its tables word for word, one run, one record."""
    path = tmp_path / "s.sqlite"
    statements = (GOLDEN / "schema-1.sql").read_text().partition("\n")[2]
    with sqlite3.connect(path) as connection:
        quoted = re.sub(r"\t([a-z]\w*) ", r'\t"\1" ', statements)
        connection.executescript(quoted.replace("\n)\n", "\n);\n"))
        connection.execute("INSERT INTO paritygate_schema VALUES (1)")
        connection.execute(
            "INSERT INTO runs (number, id, started, budget, laboratory, seed, schema, environment, absent)"
            " VALUES (1, 'old', '2026-11-01T00:00:00+00:00', 'quick', 1, 0, 1, '{}', '{}')"
        )
        connection.execute(
            "INSERT INTO records (number, run_id, cell, status, throughput, warnings, facts, parity, nan_fields)"
            " VALUES (1, 'old', 'a-b-cpu-eager-fp32', 'ok', 5.0, '[]', '{}', '{}', '[]')"
        )
    connection.close()

    (old,) = Store(path).records("old")
    assert (old.cell, old.throughput, old.verdict, old.effect, old.findings) == (
        "a-b-cpu-eager-fp32",
        5.0,
        "",
        None,
        [],
    )


def test_the_tables_of_this_schema_are_these():
    """A changed Record changes the tables: raise SCHEMA, write a migration, then let
    ``GOLDEN=write pytest tests/e2e/test_database.py`` write the file of the new number.
    """
    statements = [str(sa.schema.CreateTable(table)).strip() for table in TABLES.sorted_tables]
    text = re.sub(r"[ \t]+\n", "\n", "\n".join([f"schema {SCHEMA}", *statements])) + "\n"
    golden = GOLDEN / f"schema-{SCHEMA}.sql"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(text, "utf-8")
    assert golden.exists(), f"GOLDEN=write pytest tests/e2e/test_database.py writes {golden.name}"
    assert text == golden.read_text("utf-8"), (
        "stores of this schema exist: raise SCHEMA, add to MIGRATIONS, then GOLDEN=write"
    )


@pytest.mark.parametrize("content", [b"PNG, say", b"x" * 5000, b"SQLite format 3\0", b"\0" * 4096])
def test_a_file_of_something_else_is_refused_and_untouched(tmp_path: Path, content: bytes):
    path = tmp_path / "s.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"s\.sqlite: .*not a database.*another --bench-store"):
        Store(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_database_of_something_else_is_refused_and_untouched(tmp_path: Path):
    path = tmp_path / "s.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE file (id)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(
        StoreError,
        match=r"sqlite is a database of something else \(it has file\).*a file of its own",
    ):
        Store(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_store_is_refused_and_untouched(tmp_path: Path, share: float):
    path = tmp_path / "s.sqlite"
    Store(path).write(RUN, replace(RECORD, samples=[0.1] * 2000))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"s\.sqlite: .*nothing was changed"):
        Store(path).write(RUN, RECORD)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store(tmp_path: Path):
    (tmp_path / "s.sqlite").touch()
    Store(tmp_path / "s.sqlite").write(RUN, RECORD)
    assert len(Store(f"sqlite:///{tmp_path / 's.sqlite'}").records(RUN.id)) == 1


def test_the_file_is_in_wal_mode_and_its_folder_is_made(tmp_path: Path):
    path = tmp_path / "a" / "b" / "s.sqlite"
    Store(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"the folder of .*s\.sqlite cannot be made: "):
        Store(tmp_path / "file" / "s.sqlite")


def test_reading_makes_no_store(url: str, tmp_path: Path):
    with pytest.raises(StoreError, match="there is no store"):
        Store(url, make=False)
    assert not list(tmp_path.iterdir())


def test_reading_makes_no_tables(tmp_path: Path):
    (tmp_path / "s.sqlite").touch()
    with pytest.raises(StoreError, match=r"there is no store in .*s\.sqlite yet: run some cells"):
        Store(tmp_path / "s.sqlite", make=False)
    assert (tmp_path / "s.sqlite").read_bytes() == b""


def test_a_store_in_memory_is_refused():
    for url in (":memory:", "sqlite://"):
        with pytest.raises(StoreError, match="give the path of a file"):
            Store(url)
