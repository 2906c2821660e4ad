"""Report files: the suffix decides, the folder is made, and a file is whole or not there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from paritygate_reports import plugin
from paritygate_reports.files import writers
from paritygate_reports.files.jsontext import read_run
from tests.support.paths import GOLDEN


@pytest.mark.parametrize("suffix", [*writers.WRITERS, ".CSV"])
def test_every_suffix_writes_into_a_new_folder_and_leaves_nothing_else(tmp_path: Path, suffix: str):
    path = tmp_path / "new" / f"r{suffix}"
    writers.write(path, *read_run(GOLDEN / "run.json"))
    assert path.stat().st_size > 500, "a report of this run should say more"
    assert list(path.parent.iterdir()) == [path]


def test_csv_has_a_row_a_cell(tmp_path: Path):
    run, records = read_run(GOLDEN / "run.json")
    writers.write(tmp_path / "r.csv", run, records)
    assert list(pd.read_csv(tmp_path / "r.csv")["cell"]) == [record.cell for record in records]


def test_json_holds_the_samples(tmp_path: Path):
    run, records = read_run(GOLDEN / "run.json")
    writers.write(tmp_path / "r.json", run, records)
    again = read_run(tmp_path / "r.json")
    assert again[0] == run
    assert [r.samples for r in again[1]] == [r.samples for r in records]
    assert any(r.samples for r in again[1])


@pytest.mark.parametrize("name", ["r.xlsx", "r", "r.json.gz"])
def test_another_suffix_is_a_problem_that_says_what_is_right(name: str):
    assert "must end in one of .csv, .parquet, .json, .md" in (writers.problem(Path(name)) or "")


def test_a_folder_is_a_problem(tmp_path: Path):
    (tmp_path / "r.md").mkdir()
    assert "is a folder" in (writers.problem(tmp_path / "r.md") or "")
    assert writers.problem(tmp_path / "other.md") is None


def test_what_fails_half_way_leaves_the_old_file(tmp_path: Path, monkeypatch):
    def half(path, run, records, places):
        path.write_text("half")
        raise OSError("disk full")

    (tmp_path / "r.md").write_text("old")
    monkeypatch.setitem(writers.WRITERS, ".md", half)
    with pytest.raises(OSError, match="disk full"):
        writers.write(tmp_path / "r.md", *read_run(GOLDEN / "run.json"))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("r.md", "old")]


def test_the_help_of_the_option_names_every_kind_of_file():
    assert tuple(writers.WRITERS) == plugin.SUFFIXES
