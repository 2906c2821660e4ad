"""The store keeps whole records, whoever writes, whoever dies, and refuses what it cannot read.

Tests with the argument ``url`` run on SQLite and on PostgreSQL, the others are about SQLite's file.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from paritygate.core.record import Record, Run, Status
from paritygate_reports.files.jsontext import read_run
from paritygate_reports.frame import load
from paritygate_reports.store.database import StoreError
from paritygate_reports.store.store import Store
from tests.support.paths import GOLDEN, ROOT

RUN = Run("run-1", "2026-11-22T08:00:00+00:00", "quick", True, 0)
RECORD = Record("c-s-cpu-eager-fp32", "c", "s", "cpu", "eager", "fp32", Status.OK)

WRITER = """
import sys
from paritygate.core.record import Record, Run, Status
from paritygate_reports.store.store import Store
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
    store.write(
        RUN, replace(RECORD, error=math.nan, eager_error=None, facts={"x": {"y": math.nan}})
    )
    (found,) = store.records(RUN.id)
    assert math.isnan(found.error or 0)
    assert found.eager_error is None
    assert math.isnan(found.facts["x"]["y"])


@pytest.mark.parametrize(
    "name", ["'; DROP TABLE runs; --", "Ünï🦊", "a\nb\x00c", '"', "%s %(x)s :x ?", ""]
)
def test_hostile_names_stay_what_they_are(url: str, name: str):
    # NUL is no text for PostgreSQL: written out on both
    store, text = (
        Store(url),
        name.replace("\0", "\\x00"),
    )
    run = replace(RUN, id=name, branch=name, environment={name: name})
    for reason in ("first", name):
        store.write(
            run, replace(RECORD, cell=name, reason=reason, facts={name: name}, warnings=[name])
        )
    (found,) = store.records(name)
    assert (found.cell, found.reason, found.facts, found.warnings) == (
        text,
        text,
        {name: name},
        [name],
    )
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
    for record in (
        RECORD,
        replace(RECORD, cell="other"),
        replace(RECORD, reason="again", samples=[1.0]),
    ):
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
    Store(url).write_runs(
        [(RUN, []), (replace(RUN, id="b"), [RECORD, replace(RECORD, reason="later")])]
    )
    assert Store(url).records("run-1") == []
    assert [record.reason for record in Store(url).records("b")] == ["later"]


def test_thousands_of_cells_are_written_at_once_in_their_order(url: str):
    cells = [
        replace(RECORD, cell=f"c-s{n}-cpu-eager-fp32", shape=f"s{n}", samples=[float(n)])
        for n in range(2500)
    ]
    for _ in range(2):  # inserted, then updated
        Store(url).write_runs([(RUN, cells)])
        assert Store(url).records(RUN.id, samples=True) == cells


def test_what_is_removed_is_gone_with_its_samples_and_what_is_not_there_is_named(url: str):
    store, other = Store(url), replace(RUN, id="b")
    store.write_runs([(RUN, [replace(RECORD, samples=[0.1])]), (other, [RECORD])])
    with pytest.raises(
        StoreError, match="has no run 'nope'; nothing was removed; paritygate runs lists"
    ):
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
    runs = [
        (replace(RUN, id=f"run-{n}", started=f"2026-11-0{n}T00:00:00+00:00"), cells)
        for n in range(1, 5)
    ]
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
    assert [process.communicate(timeout=60) and process.returncode for process in writers] == [
        0
    ] * 4
    store = Store(url)
    assert {run.id: len(store.records(run.id)) for run in store.runs()} == {
        "a": 40,
        "b": 40,
        "shared": 40,
    }


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


def test_an_unknown_run_is_named(url: str):
    with pytest.raises(StoreError, match="has no run 'nope'; paritygate runs lists"):
        Store(url).run("nope")
