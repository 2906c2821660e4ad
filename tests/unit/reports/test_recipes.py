"""The recipes run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from paritygate_reports.store.store import Store
from tests.support import history
from tests.support.paths import ROOT

PAGE = ROOT / "reports" / "RECIPES.md"
RECIPES = dict(re.findall(r"## (.*?)\n.*?```python\n(.*?)```", PAGE.read_text("utf-8"), re.S))


@pytest.fixture(name="answer")
def _answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Store(Path(".paritygate") / "store.sqlite").write_runs(history.runs())

    def run(question):
        names = {}
        exec(RECIPES[question], names)
        return names["answer"]

    return run


def test_there_are_five():
    assert len(RECIPES) == 5


def test_which_backend_is_fastest(answer):
    found = answer("Which backend is fastest for each model?")

    assert found.loc[("cnn", "b32")].to_dict() == {"compile": 1.8, "eager": 1.0}


def test_which_answers_are_close(answer):
    found = answer("Which answers are close to what is allowed?")

    assert found.index[0] == history.FAILED.cell
    assert found["error_share"].iloc[0] == 40


def test_since_which_commit(answer):
    found = answer("Since which commit is a cell slower?")

    assert list(found["cell"]) == [history.COMPILED.cell]
    assert list(found["before"]) == [history.commit(history.CHANGED - 1)]


def test_how_today_stands(answer):
    found = answer("How does today's run stand to main?")

    assert set(found["verdict"]) <= {"same", "inconclusive", "broken"}
    assert len(found) == 3


def test_where_slow_calls_come_from(answer):
    found = answer("Where do the slow calls of a cell come from?")

    assert found.loc[history.EAGER.cell, "99%"] == pytest.approx(1.08, abs=0.02)
