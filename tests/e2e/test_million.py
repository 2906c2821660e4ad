"""The evidence of a million records, with few of them: it runs, and its figures are there."""

from __future__ import annotations

import json

import pytest

import paritygate_reports
from evidence import million
from paritygate_reports.store.store import Store


def test_every_step_is_timed_in_a_process_of_its_own(tmp_path, capsys):
    million.main(["--runs", "30", "--cells", "12", "--out", str(tmp_path / "m.json")])

    found = json.loads((tmp_path / "m.json").read_text())
    assert (found["runs"], found["cells"], found["records"], found["database"]) == (
        30,
        12,
        360,
        "sqlite",
    )
    assert found["bytes"] > 100_000
    assert set(found["steps"]) == set(million.STEPS)
    assert all(
        cost["seconds"] > 0 and cost["peak_bytes"] > 1 << 20 for cost in found["steps"].values()
    )
    out = capsys.readouterr().out
    assert out.startswith("360 records written in ")
    assert all(name in out for name in million.STEPS)


def test_the_history_is_one_and_is_in_the_store_as_runs_write_it(url):
    million.make(Store(url), 45, 13)
    frame = paritygate_reports.load(url, columns=million.COLUMNS)

    assert frame["run"].nunique() == 45
    assert frame["cell"].nunique() == 13
    assert len(frame) == 45 * 13
    assert 1 < frame["machine"].nunique() <= 3
    assert frame["started"].is_monotonic_increasing
    assert set(frame["status"]) <= {"ok", "failed"}
    assert (frame["throughput"].notna() == (frame["status"] == "ok")).all()
    again = [record.latency_p50 for _, records in million.history(45, 13) for record in records]
    assert (
        list(frame["latency_p50"].astype(object).where(frame["latency_p50"].notna(), None)) == again
    )


def test_a_store_that_has_runs_is_left_alone(tmp_path):
    million.make(Store(tmp_path / "s.sqlite"), 1, 1)
    with pytest.raises(SystemExit):
        million.main(["--store", str(tmp_path / "s.sqlite"), "--out", str(tmp_path / "m.json")])
    assert not (tmp_path / "m.json").exists()
