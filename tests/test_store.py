"""The store keeps whole records, whoever writes, whoever dies, and refuses what it cannot read."""

from __future__ import annotations

import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from bench.record import SCHEMA, Record, Run, Status
from reports import database as database_module
from reports.database import StoreError
from reports.jsontext import read_run
from reports.schema import RECORDS, TABLES
from reports.store import Store

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[1]
RUN = Run("run-1", "2026-11-22T08:00:00+00:00", "quick", True, 0)
RECORD = Record("c-s-cpu-eager-fp32", "c", "s", "cpu", "eager", "fp32", Status.OK)

WRITER = """
import sys
from bench.record import Record, Run, Status
from reports.store import Store
path, run_id, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store, run = Store(path), Run(run_id, "2026-11-22T08:00:00+00:00", "quick", True, 0)
print("ready", flush=True)
for n in range(count):
    cell = f"c-s{n}-cpu-eager-fp32"
    store.write(run, Record(cell, "c", f"s{n}", "cpu", "eager", "fp32", Status.OK, samples=[n * 1e-3] * 2000))
"""


def writer(path: Path, run_id: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), run_id, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_everything_comes_back_as_it_was(tmp_path: Path):
    run, records = read_run(GOLDEN / "run.json")
    for record in records:
        Store(tmp_path / "s.sqlite").write(run, record)
    store = Store(tmp_path / "s.sqlite")
    found = store.records(run.id, samples=True)
    assert store.runs() == [run]
    assert store.run(run.id) == run
    assert math.isnan(found[0].facts.pop("nan"))
    assert math.isnan(records[0].facts.pop("nan"))
    assert found == records


def test_samples_are_loaded_on_demand_only(tmp_path: Path):
    store = Store(tmp_path / "s.sqlite")
    store.write(RUN, replace(RECORD, samples=[0.1], blocks=[[0.2], [0.3]]))
    (light,), (whole,) = store.records(RUN.id), store.records(RUN.id, samples=True)
    assert (light.samples, light.blocks) == ([], [])
    assert (whole.samples, whole.blocks) == ([0.1], [[0.2], [0.3]])


@pytest.mark.parametrize("value", [math.inf, -math.inf, 5e-324, 0.1 + 0.2, 1e308, None])
def test_numbers_round_trip_bit_by_bit(tmp_path: Path, value: float | None):
    store = Store(tmp_path / "s.sqlite")
    store.write(RUN, replace(RECORD, error=value, facts={"x": [value]}))
    (found,) = store.records(RUN.id)
    assert repr(found.error) == repr(found.facts["x"][0]) == repr(value)


def test_nan_is_not_taken_for_unknown(tmp_path: Path):
    store = Store(tmp_path / "s.sqlite")
    store.write(RUN, replace(RECORD, error=math.nan, eager_error=None, facts={"x": {"y": math.nan}}))
    (found,) = store.records(RUN.id)
    assert math.isnan(found.error or 0)
    assert found.eager_error is None
    assert math.isnan(found.facts["x"]["y"])


@pytest.mark.parametrize("name", ["'; DROP TABLE runs; --", "Ünï🦊", "a\nb\x00c", '"', "%s %(x)s :x ?", ""])
def test_hostile_names_stay_what_they_are(tmp_path: Path, name: str):
    store = Store(tmp_path / "s.sqlite")
    run = replace(RUN, id=name, branch=name, environment={name: name})
    store.write(run, replace(RECORD, cell=name, reason=name, facts={name: name}, warnings=[name]))
    (found,) = store.records(name)
    assert (found.cell, found.reason, found.facts, found.warnings) == (name, name, {name: name}, [name])
    assert store.run(name) == run


def test_bytes_that_are_no_text_are_written_out(tmp_path: Path):
    store = Store(tmp_path / "s.sqlite")
    store.write(RUN, replace(RECORD, reason=b"died: \xff".decode("utf-8", "surrogateescape")))
    assert store.records(RUN.id)[0].reason == "died: \\udcff"


def test_the_same_cell_again_replaces_and_keeps_its_place(tmp_path: Path):
    store = Store(tmp_path / "s.sqlite")
    for record in (RECORD, replace(RECORD, cell="other"), replace(RECORD, reason="again", samples=[1.0])):
        store.write(RUN, record)
    first, other = store.records(RUN.id, samples=True)
    assert (first.reason, first.samples, other.cell) == ("again", [1.0], "other")


def test_the_latest_run_is_the_one_that_started_last(tmp_path: Path):
    store = Store(tmp_path / "s.sqlite")
    with pytest.raises(StoreError, match="has no run yet"):
        store.find("latest")
    store.write(replace(RUN, id="new", started="2026-11-23T00:00:00+00:00"), RECORD)
    store.write(RUN, RECORD)
    assert store.find("latest").id == "new"
    assert [run.id for run in store.runs()] == ["run-1", "new"]


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path):
    path = tmp_path / "s.sqlite"
    writers = [writer(path, run_id, 40) for run_id in ("a", "b", "shared", "shared")]
    assert [process.communicate(timeout=60) and process.returncode for process in writers] == [0] * 4
    store = Store(path)
    assert {run.id: len(store.records(run.id)) for run in store.runs()} == {"a": 40, "b": 40, "shared": 40}


def test_a_killed_writer_leaves_whole_records_only(tmp_path: Path):
    path = tmp_path / "s.sqlite"
    process = writer(path, "run-1", 100_000)
    assert process.stdout is not None
    process.stdout.readline()
    while not (path.exists() and len(Store(path).records("run-1")) > 5):
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    found = Store(path).records("run-1", samples=True)
    assert len(found) > 5
    assert [record.samples for record in found] == [[n * 1e-3] * 2000 for n in range(len(found))]
    Store(path).write(RUN, RECORD)  # and the store goes on


def test_a_newer_schema_is_refused_with_advice(tmp_path: Path):
    path = tmp_path / "s.sqlite"
    Store(path).write(RUN, RECORD)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE paritygate_schema SET version = ?", [SCHEMA + 1])
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=rf"s\.sqlite has schema {SCHEMA + 1}.*update paritygate"):
        Store(path)
    assert path.read_bytes() == before


def test_an_older_schema_is_migrated_step_by_step_or_not_at_all(tmp_path: Path, monkeypatch):
    path = tmp_path / "s.sqlite"
    Store(path).write(RUN, RECORD)

    def step(connection: sa.Connection) -> None:
        connection.execute(RECORDS.update().values(reason=RECORDS.c.reason + "+"))

    monkeypatch.setattr(database_module, "SCHEMA", SCHEMA + 2)
    monkeypatch.setitem(database_module.MIGRATIONS, SCHEMA, step)
    with pytest.raises(StoreError, match=f"nothing leads from {SCHEMA + 1}"):
        Store(path)
    monkeypatch.setitem(database_module.MIGRATIONS, SCHEMA + 1, step)
    assert Store(path).records(RUN.id)[0].reason == "++"  # the failed attempt left nothing behind
    assert Store(path).records(RUN.id)[0].reason == "++"


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
    """A changed Record changes the tables: raise SCHEMA, write a migration, then write this file anew."""
    statements = [str(sa.schema.CreateTable(table)).strip() for table in TABLES.sorted_tables]
    text = re.sub(r"[ \t]+\n", "\n", "\n".join([f"schema {SCHEMA}", *statements])) + "\n"
    golden = GOLDEN / f"schema-{SCHEMA}.sql"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(text, "utf-8")
    assert text == golden.read_text("utf-8")


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
    with pytest.raises(StoreError, match=r"s\.sqlite is a database of something else \(it has file\)"):
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


def test_reading_makes_no_store(tmp_path: Path):
    with pytest.raises(StoreError, match="there is no store"):
        Store(tmp_path / "s.sqlite", make=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "url",
    [
        "nonsense://user:hunter2@host/db",
        "postgresql+nodriver://user:hunter2@host/db?password=hunter2",
        "bad url://user:hunter2@host:port/db?password=hunter2",
        "sqlite://",
        ":memory:",
    ],
)
def test_an_impossible_url_is_refused_without_its_password(url: str):
    with pytest.raises(StoreError) as caught:
        Store(url)
    assert "hunter2" not in str(caught.value)


def test_an_unknown_run_is_named(tmp_path: Path):
    with pytest.raises(StoreError, match="has no run 'nope'"):
        Store(tmp_path / "s.sqlite").run("nope")
