"""One tidy table, the same from every source, every column documented."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import paritygate_reports
from paritygate.core.metrics import METRICS
from paritygate.core.record import Record
from paritygate_reports.files import writers
from paritygate_reports.files.jsontext import FileError, dumps, loads, read_run
from paritygate_reports.frame import COLUMNS, DETAILS, from_json, from_records, load
from paritygate_reports.store import store as store_module
from paritygate_reports.store.fields import BULK, RECORD_JSON, RECORD_SCALARS
from paritygate_reports.store.store import Store
from tests.support.paths import GOLDEN


@pytest.fixture(name="whole_run")
def _whole_run():
    return read_run(GOLDEN / "run.json")


def test_every_field_of_a_record_has_a_place_and_every_column_a_meaning():
    of_record = {field.name for field in fields(Record)}
    assert sorted((*RECORD_SCALARS, *RECORD_JSON, *BULK)) == sorted(of_record)
    names = [column.name for column in COLUMNS]
    assert len(names) == len(set(names))
    assert set(names) >= of_record - set(BULK)
    assert [column.name for column in COLUMNS if not column.meaning] == []
    numbers = [column for column in COLUMNS if column.dtype in ("Float64", "Int64")]
    assert [column.name for column in numbers if not column.unit] == []


def test_the_metrics_bring_their_own_units():
    units = {column.name: column.unit for column in COLUMNS}
    assert {metric.name: metric.unit for metric in METRICS} == {
        m.name: units[m.name] for m in METRICS
    }


def test_dtypes_are_those_that_the_table_promises(whole_run):
    frame = from_records(*whole_run)
    assert {
        name: str(dtype).replace("string[python]", "string") for name, dtype in frame.dtypes.items()
    } == {column.name: column.dtype.replace("string[python]", "string") for column in COLUMNS}
    assert len(frame) == len(whole_run[1])


def test_the_same_frame_comes_from_store_file_and_memory(tmp_path: Path, whole_run):
    run, records = whole_run
    store = Store(tmp_path / "s.sqlite")
    for record in records:
        store.write(run, record)
    writers.write(tmp_path / "r.json", run, records)
    memory = from_records(run, records)
    every = [column.name for column in COLUMNS]
    assert_frame_equal(memory, load(tmp_path / "s.sqlite", columns=every))
    assert_frame_equal(memory.drop(columns=list(DETAILS)), load(tmp_path / "s.sqlite", run=run.id))
    assert_frame_equal(memory, from_json(tmp_path / "r.json"))
    writers.write(tmp_path / "r.parquet", run, records)
    back = pd.read_parquet(tmp_path / "r.parquet").astype({c.name: c.dtype for c in COLUMNS})
    assert_frame_equal(memory, back)


def test_no_record_and_nothing_known_keep_the_dtypes(whole_run):
    run, (record, *_) = whole_run
    bare = type(record)("c", "c", "s", "cpu", "eager", "fp32", record.status)
    unknown = from_records(replace(run, commit=None, branch=None, dirty=None), [bare])
    assert_frame_equal(from_records(run, []), unknown.iloc[:0])
    assert unknown["throughput"].isna().all()


def test_several_runs_stand_under_each_other(tmp_path: Path, whole_run):
    run, records = whole_run
    store = Store(tmp_path / "s.sqlite")
    for each in (replace(run, id="b", started="2026-11-23T00:00:00+00:00"), run):
        store.write(each, records[0])
    assert list(load(tmp_path / "s.sqlite")["run"]) == [run.id, "b"]


@pytest.fixture(name="history")
def _history(tmp_path: Path, whole_run):
    """Three runs on two branches, a day apart, of two cases; one is named like a pattern."""
    run, (record, *_) = whole_run
    store = Store(tmp_path / "s.sqlite")
    for day, branch in ((1, "main"), (2, "topic"), (3, "main")):
        each = replace(run, id=str(day), started=f"2026-11-0{day}T12:00:00+00:00", branch=branch)
        cells = [
            replace(
                record,
                cell=f"{case}-b8-cpu-{backend}-fp32",
                case=case,
                backend=backend,
                device="cpu",
                dtype="fp32",
            )
            for case in ("a_b", "axb")
            for backend in ("eager", "compile")
        ]
        store.write_runs([(each, cells)])
    return tmp_path / "s.sqlite"


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        ({}, 12),
        ({"run": "2"}, 4),
        ({"branch": "main"}, 8),
        ({"case": "a_b"}, 6),
        ({"case": "a_*"}, 6),
        ({"case": "a?b"}, 12),
        ({"case": "A?*"}, 0),
        ({"target": "cpu-eager-fp32"}, 6),
        ({"target": "cuda-*"}, 0),
        ({"target": "*-compile-*", "branch": "topic"}, 2),
        ({"since": "2026-11-02"}, 8),
        ({"until": "2026-11-02T12:00:00"}, 4),
        ({"since": "2026-11-02T13:00:00+02:00"}, 8),
        ({"since": datetime(2026, 11, 3, tzinfo=UTC)}, 4),
        ({"case": "A_B"}, 0),
        ({"case": "a%"}, 0),
    ],
)
def test_a_part_is_loaded_by_case_target_branch_and_time(history, filters, rows):
    frame = load(history, columns=["run", "cell", "branch"], **filters)

    assert list(frame.columns) == ["run", "cell", "branch"]
    assert len(frame) == rows
    assert str(frame["cell"].dtype).startswith("string")


def test_parts_are_joined_in_the_order_of_the_runs(history, monkeypatch):
    monkeypatch.setattr(store_module, "PART", 5)

    assert list(load(history)["run"]) == ["1"] * 4 + ["2"] * 4 + ["3"] * 4


def test_a_column_and_a_time_that_are_none_are_refused(history):
    with pytest.raises(
        ValueError, match="there is no column 'speed'; the columns are run, started"
    ):
        load(history, columns=["speed"])
    with pytest.raises(ValueError, match="Invalid isoformat"):
        load(history, since="yesterday")


def test_the_package_gives_its_functions_when_they_are_asked_for(history):
    assert len(paritygate_reports.load(history)) == 12
    with pytest.raises(AttributeError, match="it has changepoints, compare, load"):
        _ = paritygate_reports.nothing


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf, {"a": None}], {"ü\n": "\ud800"}])
def test_json_is_strict_and_loses_nothing(value):
    text = dumps(value)
    assert "NaN" not in text
    assert "Infinity" not in text
    assert repr(loads(text)) == repr(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a run"),
        ("[]", "is not a run"),
        ('{"a": 1}', "is not a run"),
        ('{"paritygate": 99}', "update"),
        ('{"paritygate": 1, "run": {"id": 1}, "records": []}', "cannot be read"),
    ],
)
def test_a_file_that_is_no_report_is_named(tmp_path: Path, text: str, message: str):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(FileError, match=rf"r\.json .*{message}"):
        from_json(tmp_path / "r.json")
    with pytest.raises(FileError, match="none"):
        from_json(tmp_path / "none")
