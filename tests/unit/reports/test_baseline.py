"""Runs of other days: what is flagged, what is not known, and that other machines are never
compared.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from paritygate.core.record import Record, Run, Status
from paritygate_reports import compare
from paritygate_reports.analysis.baseline import FEWEST_RUNS, LEVEL, WINDOW, expected
from paritygate_reports.frame import frame, from_records

MACHINE = {"cpu": "EPYC", "threads": 2, "version_torch": "2.13.0"}
RUN = Run("now", "2026-12-01T00:00:00+00:00", "quick", True, 0, environment=MACHINE)
CELL = Record("c-s-cpu-eager-fp32", "c", "s", "cpu", "eager", "fp32", Status.OK, latency_p50=1e-3)


def past(count, spread=0.01, environment=MACHINE, record=CELL, level=1e-3):
    """Runs of as many days before, each with the cell."""
    times = level * np.exp(np.random.default_rng(0).normal(0, spread, count))
    return frame(
        (
            replace(
                RUN,
                id=f"day {day}",
                started=f"2026-10-{day % 28 + 1:02}T{day // 28:02}:00:00+00:00",
                environment=environment,
            ),
            replace(record, latency_p50=seconds),
        )
        for day, seconds in enumerate(times)
    )


def judge(base, seconds=1e-3, **changes):
    (row,) = compare(
        base, from_records(RUN, [replace(CELL, latency_p50=seconds, **changes)])
    ).to_dict("records")
    return row


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (1.12e-3, "regressed"),
        (0.88e-3, "improved"),
        (1.02e-3, "inconclusive"),
        (1e-3, "inconclusive"),
    ],
)
def test_only_what_no_day_explains_is_flagged(seconds, verdict):
    row = judge(past(20), seconds)

    assert row["verdict"] == verdict
    assert row["effect"] == pytest.approx(seconds / 1e-3 - 1, abs=0.01)
    assert row["low"] < row["effect"] < row["high"]
    assert row["runs"] == 20


def test_on_a_machine_whose_days_are_alike_unchanged_is_the_same():
    assert judge(past(20, spread=0.001))["verdict"] == "same"
    assert judge(past(20, spread=0.001), 1.03e-3)["verdict"] == "regressed"


def test_too_few_runs_tell_nothing_and_say_how_many_there_are():
    row = judge(past(FEWEST_RUNS - 1), 2e-3)

    assert (row["verdict"], row["reason"]) == ("inconclusive", "7 of 8 runs")
    assert judge(past(FEWEST_RUNS), 2e-3)["verdict"] == "regressed"


def test_runs_of_another_machine_are_not_compared_and_the_facts_are_named():
    row = judge(past(20, environment=MACHINE | {"threads": 4}), 2e-3)

    assert row["verdict"] == "not_comparable"
    assert row["reason"] == "no run of base is from such a machine: threads 4 -> 2"


def test_only_the_last_runs_count():
    long_ago = past(WINDOW, level=2e-3).assign(started=pd.Timestamp("2025-01-01", tz="UTC"))
    both = pd.concat([long_ago.assign(run=[f"old {n}" for n in range(WINDOW)]), past(WINDOW)])
    row = judge(both)

    assert row["runs"] == WINDOW
    assert abs(row["effect"]) < 0.02


def test_cells_without_a_time_say_why():
    assert judge(past(20), status=Status.CRASHED, reason="boom")["verdict"] == "broken"
    assert judge(past(20), status=Status.SKIPPED, reason="no GPU")["reason"] == "skipped: no GPU"
    assert judge(past(20).iloc[:0])["verdict"] == "new"
    gone = compare(past(20), from_records(RUN, [replace(CELL, cell="d-s-cpu-eager-fp32")]))
    assert dict(zip(gone["cell"], gone["verdict"], strict=True)) == {
        "d-s-cpu-eager-fp32": "new",
        "c-s-cpu-eager-fp32": "missing",
    }


def test_cells_that_are_checked_and_never_timed_are_no_rows():
    untimed = past(20).assign(latency_p50=None).astype({"latency_p50": "Float64"})

    assert compare(untimed, from_records(RUN, [replace(CELL, latency_p50=None)])).empty


def test_a_cell_that_went_long_ago_is_not_missing_for_ever():
    days = past(20)
    other = past(3, record=replace(CELL, cell="old-s-cpu-eager-fp32")).assign(
        started=pd.Timestamp("2026-01-01", tz="UTC")
    )
    found = compare(pd.concat([other.assign(run=["x", "y", "z"]), days]), from_records(RUN, [CELL]))

    assert list(found["cell"]) == [CELL.cell]


def test_a_run_is_not_its_own_baseline():
    row = judge(frame([(RUN, CELL)]))

    assert row["verdict"] == "new"


def test_a_level_that_changed_starts_a_new_baseline():
    before = past(40, level=1e-3).assign(started=pd.Timestamp("2026-09-01", tz="UTC"))
    after = past(FEWEST_RUNS, level=1.3e-3).assign(run=[f"new {n}" for n in range(FEWEST_RUNS)])
    row = judge(pd.concat([before, after]), 1.3e-3)
    few = judge(pd.concat([before, after.iloc[:4]]), 1.3e-3)

    assert (row["runs"], row["verdict"]) == (FEWEST_RUNS, "inconclusive")
    assert abs(row["effect"]) < 0.02
    assert few["reason"].startswith("4 of 8 runs since the level changed by +3")


def test_a_machine_that_changed_convicts_nobody():
    def calibrated(gemm):
        return MACHINE | {"calibration": {"gemm": gemm, "triad": 1e-3}}

    base = pd.concat([past(20, environment=calibrated(1e-3)).iloc[[n]] for n in range(20)])
    slower = [replace(CELL, latency_p50=1.3e-3)]
    (moved,) = compare(
        base, from_records(replace(RUN, environment=calibrated(1.12e-3)), slower)
    ).to_dict("records")
    (still,) = compare(
        base, from_records(replace(RUN, environment=calibrated(1e-3)), slower)
    ).to_dict("records")

    assert (moved["verdict"], moved["reason"]) == (
        "not_comparable",
        "the machine itself differs from these runs: gemm +12%",
    )
    assert still["verdict"] == "regressed"


@pytest.mark.parametrize(("gemm", "seconds"), [(1.02e-3, 1.5e-3), (0.9e-3, 1.3e-3)])
def test_what_the_kernels_do_not_explain_is_still_told(gemm, seconds):
    base = past(20, environment=MACHINE | {"calibration": {"numpy": "2", "gemm": 1e-3}})
    run = replace(RUN, environment=MACHINE | {"calibration": {"numpy": "2", "gemm": gemm}})
    (row,) = compare(base, from_records(run, [replace(CELL, latency_p50=seconds)])).to_dict(
        "records"
    )

    assert row["verdict"] == "regressed"


def test_kernels_of_another_numpy_say_nothing():
    base = past(20, environment=MACHINE | {"calibration": {"numpy": "1", "gemm": 1e-3}})
    run = replace(RUN, environment=MACHINE | {"calibration": {"numpy": "2", "gemm": 2e-3}})
    (row,) = compare(base, from_records(run, [replace(CELL, latency_p50=1.3e-3)])).to_dict(
        "records"
    )

    assert row["verdict"] == "regressed"


@pytest.mark.parametrize("seconds", [0.0, float("inf")])
def test_a_time_without_a_logarithm_is_no_time(seconds):
    spoilt = past(20).copy()
    spoilt.loc[3, "latency_p50"] = seconds

    assert judge(spoilt, 1.3e-3)["verdict"] == "regressed"
    assert judge(past(20), seconds)["reason"] == "head has no time"


def test_cells_of_another_machine_are_not_missing():
    other = past(
        10,
        environment=MACHINE | {"gpu": "H100", "cpu": "Xeon"},
        record=replace(CELL, cell="c-s-cuda-eager-fp32"),
    )
    found = compare(
        pd.concat([past(20), other.assign(run=[f"gpu {n}" for n in range(10)])]),
        from_records(RUN, [CELL]),
    )

    assert list(found["cell"]) == [CELL.cell]


def test_a_missing_column_is_named():
    with pytest.raises(KeyError, match="a comparison needs the column 'calibration'"):
        compare(past(20).drop(columns="calibration"), from_records(RUN, [CELL]))


def test_two_runs_are_no_head():
    with pytest.raises(ValueError, match="head holds 20 runs; give one"):
        compare(past(20), past(20))


def test_false_flags_are_as_rare_as_promised():
    """20,000 clean cells with histories of 8 to 30 runs: of either side LEVEL."""
    rng = np.random.default_rng(1)
    flags = []
    for count in (8, 12, 20, 30):
        for _ in range(5000):
            values = rng.normal(0, 0.02, count + 1)
            middle, half = expected(values[:-1])
            flags.append(values[-1] - middle > half)

    assert np.mean(flags) < 2.5 * LEVEL  # the median wanders a little more than the mean
