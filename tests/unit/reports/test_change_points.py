"""Change points of a frame: since which commit, how sure, and the command that confirms it."""

from __future__ import annotations

import pandas as pd
import pytest

import paritygate_reports
from paritygate_reports.analysis.change_points import (
    DTYPES,
    WINDOW,
    changes_in,
    histories,
    levels,
    titles,
)
from paritygate_reports.frame import frame
from tests.support import history


@pytest.fixture(scope="module", name="told")
def _told():
    return frame((run, record) for run, records in history.runs() for record in records)


def test_one_shift_is_one_finding_with_its_commits_and_the_command_that_confirms_it(told):
    (found,) = paritygate_reports.changepoints(told).to_dict("records")

    assert found["cell"] == history.COMPILED.cell
    assert found["effect"] == pytest.approx(history.STEP - 1, abs=0.03)
    assert found["low"] < history.STEP - 1 < found["high"]
    assert found["run"] == f"day-{history.CHANGED:03}"
    assert found["commit"] == history.commit(history.CHANGED)
    assert found["before"] == history.commit(history.CHANGED - 1)
    assert found["latest"] == history.commit(history.CHANGED)
    assert (found["commits"], found["runs_before"], found["runs_after"]) == (1, 28, 12)
    after, before = history.commit(history.CHANGED)[:12], history.commit(history.CHANGED - 1)[:12]
    assert found["confirm"] == (
        f"git switch --detach {after} && pytest bench -k {history.COMPILED.cell} --bench-against {before}"
    )


def test_columns_have_the_promised_dtypes_also_where_nothing_is_found(told):
    for found in (
        paritygate_reports.changepoints(told),
        paritygate_reports.changepoints(told.iloc[:0]),
    ):
        assert list(found) == list(DTYPES)
        assert {name: str(dtype) for name, dtype in found.dtypes.items()} == {
            name: str(pd.Series([], dtype=dtype).dtype) for name, dtype in DTYPES.items()
        }


def test_a_shift_stays_one_finding_from_day_to_day(told):
    days = sorted(told["started"].unique())
    for day in days[history.CHANGED + 2 :: 4]:
        found = paritygate_reports.changepoints(told[told["started"] <= day])
        assert list(found["run"]) == [f"day-{history.CHANGED:03}"]


def test_machines_are_never_one_series(told):
    other = frame(
        (run, record)
        for run, records in history.runs(history.OTHER, days=30, name="other")
        for record in records
    )
    slow = other.assign(latency_p50=other["latency_p50"] * 3)
    found = paritygate_reports.changepoints(pd.concat([told, slow]))

    # two runs after the step on the other are too few
    assert list(found["run"]) == [f"day-{history.CHANGED:03}"]


def test_a_series_has_its_own_changes_its_levels_and_its_machine(told):
    other = frame(
        (run, record)
        for run, records in history.runs(history.OTHER, name="other")
        for record in records
    )
    both = pd.concat([told, other])
    found, every = paritygate_reports.changepoints(both), list(histories(both))
    mine = next(
        one
        for one in every
        if (one["cell"] == history.COMPILED.cell).all() and "day-000" in set(one["run"])
    )
    (start, change, before), (again, end, after) = levels(mine, found)

    assert (start, change, again, end) == (0, history.CHANGED, history.CHANGED, history.DAYS)
    assert before == mine["latency_p50"].iloc[: history.CHANGED].median()
    assert after / before == pytest.approx(history.STEP, abs=0.02)
    assert list(changes_in(found, mine)["run"]) == [f"day-{history.CHANGED:03}"]
    assert len(found) == 2  # the other is of the other machine
    assert len(set(titles(every))) == 4  # two cells with times on two machines
    assert titles([mine]) == [history.COMPILED.cell]


def test_the_order_of_rows_does_not_matter(told):
    shuffled = told.sample(frac=1, random_state=0)

    pd.testing.assert_frame_equal(
        paritygate_reports.changepoints(shuffled), paritygate_reports.changepoints(told)
    )


def test_only_the_last_runs_are_looked_at():
    many = frame((run, records[1]) for run, records in history.runs(days=WINDOW + 40))
    found = paritygate_reports.changepoints(many)

    assert found.empty  # the step was 212 runs ago


def test_without_commits_there_is_no_command(told):
    (found,) = paritygate_reports.changepoints(told.assign(commit=None)).to_dict("records")

    assert found["confirm"] == ""
    assert pd.isna(found["commit"])
    assert pd.isna(found["commits"])


@pytest.mark.parametrize("commit", ["$(reboot)", ";reboot;", "-f", "main", "`x`" * 20])
def test_a_foreign_commit_is_never_made_a_command(told, commit):
    for place in (history.CHANGED - 1, history.CHANGED):  # those that the command would name
        spoilt = told.assign(commit=told["commit"].where(told["run"] != f"day-{place:03}", commit))
        (found,) = paritygate_reports.changepoints(spoilt).to_dict("records")
        assert found["confirm"] == ""


@pytest.mark.parametrize("seconds", [0.0, float("inf"), None])
def test_a_time_without_a_logarithm_is_left_out(told, seconds):
    spoilt = told.copy()
    spoilt.loc[1, "latency_p50"] = seconds

    assert list(paritygate_reports.changepoints(spoilt)["run"]) == [f"day-{history.CHANGED:03}"]


def test_a_missing_column_is_named():
    with pytest.raises(KeyError, match="change points need the column 'commit'"):
        paritygate_reports.changepoints(pd.DataFrame({"run": [], "started": []}))
