"""The store keeps whole records, whoever writes, whoever dies, and refuses what it cannot read.

Tests with the argument ``url`` run on SQLite and on PostgreSQL, the others are about SQLite's file.
"""

from __future__ import annotations

import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from bench.record import SCHEMA, Record, Run, Status
from reports import database as database_module
from reports.database import Database, StoreError
from reports.frame import load
from reports.jsontext import read_run
from reports.schema import MIGRATIONS, RECORDS, TABLES, VERSION
from reports.store import Store

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[1]
RUN = Run("run-1", "2026-11-22T08:00:00+00:00", "quick", True, 0)
RECORD = Record("c-s-cpu-eager-fp32", "c", "s", "cpu", "eager", "fp32", Status.OK)

WRITER = """
import sys
from bench.record import Record, Run, Status
from reports.store import Store
url, run_id, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store, run = Store(url), Run(run_id, "2026-11-22T08:00:00+00:00", "quick", True, 0)
print("ready", flush=True)
for n in range(count):
    cell = f"c-s{n}-cpu-eager-fp32"
    store.write(run, Record(cell, "c", f"s{n}", "cpu", "eager", "fp32", Status.OK, samples=[n * 1e-3] * 2000))
"""


def writer(url: str, run_id: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, url, run_id, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_everything_comes_back_as_it_was(url: str):
    run, records = read_run(GOLDEN / "run.json")
    for record in records:
        Store(url).write(run, record)
    store = Store(url)
    found = store.records(run.id, samples=True)
    assert store.runs() == [run]
    assert store.run(run.id) == run
    assert math.isnan(found[0].facts.pop("nan"))
    assert math.isnan(records[0].facts.pop("nan"))
    assert found == records


def test_samples_are_loaded_on_demand_only(url: str):
    store = Store(url)
    store.write(RUN, replace(RECORD, samples=[0.1], blocks=[[0.2], [0.3]]))
    (light,), (whole,) = store.records(RUN.id), store.records(RUN.id, samples=True)
    assert (light.samples, light.blocks) == ([], [])
    assert (whole.samples, whole.blocks) == ([0.1], [[0.2], [0.3]])


@pytest.mark.parametrize("value", [math.inf, -math.inf, 5e-324, 0.1 + 0.2, 1e308, None])
def test_numbers_round_trip_bit_by_bit(url: str, value: float | None):
    store = Store(url)
    store.write(RUN, replace(RECORD, error=value, facts={"x": [value]}))
    (found,) = store.records(RUN.id)
    assert repr(found.error) == repr(found.facts["x"][0]) == repr(value)


def test_nan_is_not_taken_for_unknown(url: str):
    store = Store(url)
    store.write(RUN, replace(RECORD, error=math.nan, eager_error=None, facts={"x": {"y": math.nan}}))
    (found,) = store.records(RUN.id)
    assert math.isnan(found.error or 0)
    assert found.eager_error is None
    assert math.isnan(found.facts["x"]["y"])


@pytest.mark.parametrize("name", ["'; DROP TABLE runs; --", "Ünï🦊", "a\nb\x00c", '"', "%s %(x)s :x ?", ""])
def test_hostile_names_stay_what_they_are(url: str, name: str):
    store, text = Store(url), name.replace("\0", "\\x00")  # NUL is no text for PostgreSQL: written out on both
    run = replace(RUN, id=name, branch=name, environment={name: name})
    for reason in ("first", name):
        store.write(run, replace(RECORD, cell=name, reason=reason, facts={name: name}, warnings=[name]))
    (found,) = store.records(name)
    assert (found.cell, found.reason, found.facts, found.warnings) == (text, text, {name: name}, [name])
    assert store.run(name) == replace(run, id=text, branch=text)
    assert len(load(url, run=name, branch=name)) == 1
    store.remove([name])
    assert (store.runs(), store.records(name)) == ([], [])


def test_bytes_that_are_no_text_are_written_out(url: str):
    store = Store(url)
    store.write(RUN, replace(RECORD, reason=b"died: \xff".decode("utf-8", "surrogateescape")))
    assert store.records(RUN.id)[0].reason == "died: \\udcff"


def test_the_same_cell_again_replaces_and_keeps_its_place(url: str):
    store = Store(url)
    for record in (RECORD, replace(RECORD, cell="other"), replace(RECORD, reason="again", samples=[1.0])):
        store.write(RUN, record)
    first, other = store.records(RUN.id, samples=True)
    assert (first.reason, first.samples, other.cell) == ("again", [1.0], "other")


def test_the_latest_run_is_the_one_that_started_last(url: str):
    store = Store(url)
    with pytest.raises(StoreError, match="has no run yet"):
        store.find("latest")
    store.write(replace(RUN, id="new", started="2026-11-23T00:00:00+00:00"), RECORD)
    store.write(RUN, RECORD)
    assert store.find("latest").id == "new"
    assert [run.id for run in store.runs()] == ["run-1", "new"]


def test_a_run_may_hold_no_cell_and_a_cell_twice(url: str):
    Store(url).write_runs([(RUN, []), (replace(RUN, id="b"), [RECORD, replace(RECORD, reason="later")])])
    assert Store(url).records("run-1") == []
    assert [record.reason for record in Store(url).records("b")] == ["later"]


def test_thousands_of_cells_are_written_at_once_in_their_order(url: str):
    cells = [replace(RECORD, cell=f"c-s{n}-cpu-eager-fp32", shape=f"s{n}", samples=[float(n)]) for n in range(2500)]
    for _ in range(2):  # inserted, then updated
        Store(url).write_runs([(RUN, cells)])
        assert Store(url).records(RUN.id, samples=True) == cells


def test_what_is_removed_is_gone_with_its_samples_and_what_is_not_there_is_named(url: str):
    store, other = Store(url), replace(RUN, id="b")
    store.write_runs([(RUN, [replace(RECORD, samples=[0.1])]), (other, [RECORD])])
    with pytest.raises(StoreError, match="has no run 'nope'; nothing was removed"):
        store.remove(["b", "nope"])
    assert len(store.runs()) == 2
    store.remove([RUN.id])
    assert store.runs() == [other]
    store.write(RUN, RECORD)
    assert store.records(RUN.id, samples=True) == [RECORD]  # none of the earlier samples


def test_who_opens_a_new_store_at_once_makes_it_once(url: str):
    barrier = threading.Barrier(8)

    def opened(number: int) -> None:
        barrier.wait(30)
        Store(url).write(RUN, replace(RECORD, cell=f"c-s{number}-cpu-eager-fp32"))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(opened, range(8))) == [None] * 8
    assert len(Store(url).records(RUN.id)) == 8


def test_who_writes_the_same_runs_in_another_order_waits_in_no_circle(url: str):
    cells = [replace(RECORD, cell=f"c-s{n}-cpu-eager-fp32") for n in range(100)]
    runs = [(replace(RUN, id=f"run-{n}", started=f"2026-11-0{n}T00:00:00+00:00"), cells) for n in range(1, 5)]
    Store(url)
    barrier = threading.Barrier(2)

    def written(order: int) -> None:
        for _ in range(5):
            barrier.wait(30)
            Store(url).write_runs(runs[::order])

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(written, (1, -1))) == [None, None]
    assert [len(Store(url).records(run.id)) for run, _ in runs] == [100] * 4


def test_processes_that_write_at_once_lose_nothing(url: str):
    writers = [writer(url, run_id, 40) for run_id in ("a", "b", "shared", "shared")]
    assert [process.communicate(timeout=60) and process.returncode for process in writers] == [0] * 4
    store = Store(url)
    assert {run.id: len(store.records(run.id)) for run in store.runs()} == {"a": 40, "b": 40, "shared": 40}


def test_a_killed_writer_leaves_whole_records_only(url: str):
    process = writer(url, "run-1", 100_000)
    assert process.stdout is not None
    process.stdout.readline()
    while len(Store(url).records("run-1")) <= 5:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    found = Store(url).records("run-1", samples=True)
    assert len(found) > 5
    assert [record.samples for record in found] == [[n * 1e-3] * 2000 for n in range(len(found))]
    Store(url).write(RUN, RECORD)  # and the store goes on


def set_version(url: str, version: int) -> None:
    with Database(url).writing() as connection:
        connection.execute(VERSION.update().values(version=version))


def test_a_newer_schema_is_refused_with_advice(url: str):
    Store(url).write(RUN, RECORD)
    set_version(url, SCHEMA + 1)
    with pytest.raises(StoreError, match=rf"has schema {SCHEMA + 1}.*nothing was changed: update paritygate"):
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
    assert Store(url, make=False).records(RUN.id)[0].reason == "++"  # the failed attempt left nothing behind
    assert Store(url).records(RUN.id)[0].reason == "++"


def test_the_columns_of_schema_2_are_added_to_a_store_of_schema_1(url: str):
    Store(url).write(RUN, replace(RECORD, throughput=5.0))
    with Database(url).writing() as connection:
        for name in ("verdict", "verdict_reason", "effect", "effect_low", "effect_high", "effect_sd", "detectable",
                     "findings"):  # fmt: skip
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
    with pytest.raises(StoreError, match=r"sqlite is a database of something else \(it has file\).*a file of its own"):
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


def test_an_unknown_run_is_named(url: str):
    with pytest.raises(StoreError, match="has no run 'nope'"):
        Store(url).run("nope")
