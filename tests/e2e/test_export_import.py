"""Runs move between stores as files, in either format and over either database: as they were, all
of them or none.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from paritygate.__main__ import main
from paritygate.core.record import SCHEMA, Record, Status
from paritygate_reports.files import runfiles, writers
from paritygate_reports.files.jsontext import FileError, dumps, read_run
from paritygate_reports.store.store import Store
from tests.support import history
from tests.support.paths import GOLDEN

FORMATS = sorted(runfiles.FORMATS)
OLD = replace(
    history.OLD,
    environment={"load": math.nan, "gate": {"invalid": []}},
    absent={"cuda": "no\x00ne"},
)
NEW = replace(OLD, id="aaab2222", started=history.NEW.started, commit=None, branch=None, dirty=True)
FINE = replace(
    history.FINE,
    throughput=5e-324,
    latency_p50=0.1 + 0.2,
    error=math.nan,
    eager_error=None,
    error_share=-math.inf,
    peak_bytes=2**62,
    samples=[0.1, -0.0, math.inf, math.nan],
    blocks=[[0.15], []],
    warnings=["ü\u2028 🦊"],
    facts={"a": [None, math.nan, {"b": "\x00\ud800"}], "n": 2**80},
    parity={"x": True},
)
WRONG = replace(
    FINE,
    cell=history.WRONG.cell,
    backend="compile",
    status=Status.PARITY_FAILED,
    reason="off by 1",
    samples=[],
    blocks=[],
    effect=math.nan,
    findings=["f"],
)


@pytest.fixture(name="store")
def _store(tmp_path):
    found = Store(tmp_path / "s.sqlite")
    found.write_runs([(OLD, [FINE, WRONG]), (NEW, [FINE])])
    return found


def command(store, *arguments):
    return main(["--store", str(store), *map(str, arguments)])


def everything(store: Store) -> list[str]:
    """All that a store holds, as text in which NaN is like itself, and -0.0 is not 0.0."""
    return [repr((run, store.records(run.id, samples=True))) for run in store.runs()]


@pytest.mark.parametrize("form", FORMATS)
def test_runs_move_from_store_to_store_as_they_were(store, url, tmp_path, form):
    assert command(store.name, "export", tmp_path / "runs", "--format", form) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        f"2026-11-20-aaaa1111.{form}",
        f"2026-11-21-aaab2222.{form}",
    ]
    for _ in range(2):  # again: nothing doubles
        assert command(url, "import", tmp_path / "runs") == 0
        assert everything(Store(url)) == everything(store)


@pytest.mark.parametrize("form", FORMATS)
def test_a_store_comes_back_over_a_file_bit_by_bit(url, tmp_path, form):
    there = Store(url)
    there.write_runs([(OLD, [FINE, WRONG]), read_run(GOLDEN / "run.json")])
    assert command(url, "export", tmp_path / "runs", "--format", form) == 0
    assert command(tmp_path / "back.sqlite", "import", tmp_path / "runs") == 0
    assert everything(Store(tmp_path / "back.sqlite")) == everything(there)


def test_a_parquet_file_is_a_table_for_others_too(store, tmp_path):
    command(store.name, "export", tmp_path, "aaaa", "--format", "parquet")
    table = pq.read_table(tmp_path / "2026-11-20-aaaa1111.parquet")

    assert table.column("cell").to_pylist() == [FINE.cell, WRONG.cell]
    assert table.schema.field("samples").type == pa.list_(pa.float64())
    assert table.column("eager_error").null_count == 2
    assert math.isnan(table.column("error")[0].as_py())


def test_a_name_that_looks_like_a_path_stays_in_the_folder(tmp_path):
    hostile = [replace(OLD, id=name) for name in ("../../out", "a/b", "a_b", "..", "x\ny")]
    Store(tmp_path / "s.sqlite").write_runs((run, [FINE]) for run in hostile)
    assert command(tmp_path / "s.sqlite", "export", tmp_path / "deep" / "runs") == 0

    assert {path.name for path in tmp_path.iterdir()} == {"s.sqlite", "deep"}
    assert len(list((tmp_path / "deep" / "runs").iterdir())) == 5
    assert command(tmp_path / "t.sqlite", "import", tmp_path / "deep") == 0
    assert everything(Store(tmp_path / "t.sqlite")) == everything(Store(tmp_path / "s.sqlite"))


def test_what_was_imported_is_told(store, tmp_path, capsys):
    command(store.name, "export", tmp_path / "runs", "main")
    command(tmp_path / "other.sqlite", "import", tmp_path / "runs")

    assert (
        f"1 run with 2 cells read into {tmp_path / 'other.sqlite'}, 1 of them new"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-20],
        lambda _: "[]",
        lambda _: '{"benchmarks": []}',
        lambda _: "",
        lambda _: "[" * 10**5,
        lambda text: json.dumps(json.loads(text) | {"paritygate": 10**6}),
        lambda text: text.replace('"status": "ok"', '"status": "splendid"'),
        lambda text: text.replace('"units": 1', '"units": "one"'),
        lambda text: text.replace('"seed": 0', '"seed": true'),
        lambda text: text.replace('"cell": "c-s-cpu-eager-fp32"', '"cell": null'),
        lambda text: text.replace('"records": [', '"records": [7,'),
    ],
)
def test_one_bad_file_and_nothing_is_imported(store, tmp_path, spoil, capsys):
    command(store.name, "export", tmp_path / "runs")
    bad = max((tmp_path / "runs").iterdir())  # the last to be read
    text = spoil(bad.read_text())
    assert text != bad.read_text()
    bad.write_text(text)

    assert command(tmp_path / "other.sqlite", "import", tmp_path / "runs") == 2
    assert str(bad) in capsys.readouterr().err
    assert not (tmp_path / "other.sqlite").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 0.999])
def test_a_parquet_file_that_is_cut_short_is_named(store, tmp_path, share, capsys):
    command(store.name, "export", tmp_path / "runs", "--format", "parquet")
    bad = max((tmp_path / "runs").iterdir())
    whole = bad.read_bytes()
    bad.write_bytes(whole[: int(len(whole) * share)])

    assert command(tmp_path / "other.sqlite", "import", tmp_path / "runs") == 2
    assert str(bad) in capsys.readouterr().err
    assert not (tmp_path / "other.sqlite").exists()


def readable(path: Path) -> list[Record]:
    try:
        return runfiles.read(path)[1]
    except FileError:
        return []


def test_a_flipped_byte_in_a_parquet_file_never_becomes_another_number(tmp_path):
    record = replace(FINE, samples=[n * 1e-3 for n in range(500)])
    path = tmp_path / "run.parquet"
    runfiles.write_parquet(path, OLD, [record])
    whole = path.read_bytes()
    refused = 0
    for place in range(4, len(whole), max(1, len(whole) // 200)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        numbers = [dumps([found.samples, found.throughput]) for found in readable(path)]
        # a statistic, a padding: never read
        assert numbers in (
            [],
            [dumps([record.samples, record.throughput])],
        )
        refused += not numbers
    assert refused > 50


def test_a_table_that_is_no_run_is_refused_with_the_way_to_write_one(tmp_path):
    path = tmp_path / "a=1" / "r.parquet"  # a folder that some readers take for a column
    writers.write(path, OLD, [FINE])
    with pytest.raises(
        FileError, match=r"r\.parquet is a table and not a run; .* --format parquet"
    ):
        runfiles.read(path)
    runfiles.write_parquet(path, OLD, [FINE])
    assert repr(runfiles.read(path)) == repr((OLD, [FINE]))


def test_a_parquet_file_of_a_newer_or_older_paritygate(tmp_path):
    path = tmp_path / "r.parquet"
    runfiles.write_parquet(path, OLD, [FINE])
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"paritygate"])

    def rewrite(table, schema):
        pq.write_table(
            table.replace_schema_metadata(
                {"paritygate": json.dumps(about | {"paritygate": schema})}
            ),
            path,
        )
        return runfiles.read(path)

    with pytest.raises(FileError, match=rf"r\.parquet has schema {SCHEMA + 1}.*update paritygate"):
        rewrite(table, SCHEMA + 1)
    with pytest.raises(FileError, match=r"r\.parquet holds a record that cannot be read.*'more'"):
        rewrite(table.append_column("more", pa.array([1])), SCHEMA)
    (older,) = rewrite(table.drop_columns(["effect", "findings"]), 1)[1]
    assert (older.effect, older.findings, older.cell) == (None, [], FINE.cell)


def test_what_fails_to_be_written_leaves_no_file(store, tmp_path, monkeypatch):
    def half(path, run, records):
        path.write_text("half")
        raise OSError("disk full")

    monkeypatch.setitem(runfiles.FORMATS, "json", half)
    assert command(store.name, "export", tmp_path / "runs") == 2
    assert list((tmp_path / "runs").iterdir()) == []


def test_folders_are_searched_below_and_a_file_named_twice_counts_once(store, tmp_path, capsys):
    command(store.name, "export", tmp_path / "runs" / "deep", "latest")
    command(store.name, "export", tmp_path / "runs", "main", "--format", "parquet")
    (tmp_path / "runs" / "notes.txt").write_text("no run")
    capsys.readouterr()
    file = tmp_path / "runs" / "2026-11-20-aaaa1111.parquet"
    assert command(tmp_path / "other.sqlite", "import", tmp_path / "runs", file) == 0
    assert "2 runs with 3 cells" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert command(tmp_path / "other.sqlite", "import", tmp_path / "empty") == 2
    assert "no .json or .parquet file in there" in capsys.readouterr().err
    assert command(tmp_path / "other.sqlite", "import", tmp_path / "no.json") == 2
    assert "no.json cannot be read: No such file" in capsys.readouterr().err
