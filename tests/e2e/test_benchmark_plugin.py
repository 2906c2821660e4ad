"""pytest-benchmark works on cells: its table, files and switches."""

from __future__ import annotations

import json
import statistics
import sys

import pytest


def test_table_and_json_hold_what_was_recorded_and_compare_reads_it(project):
    result = project.run("--benchmark-json=out.json", "--benchmark-autosave")
    result.stdout.fnmatch_lines(
        [
            "*benchmark 'one-b8-cpu-fp32': 1 tests*",
            "test_throughput[[]one-b8-cpu-eager-fp32] *",
        ]
    )
    assert result.ret == 0
    written = json.loads((project.path / "out.json").read_text())["benchmarks"]
    records = project.records(samples=True)
    assert [benchmark["extra_info"]["cell"] for benchmark in written] == list(records)
    for benchmark in written:
        record, extra, stats = (
            records[benchmark["extra_info"]["cell"]],
            benchmark["extra_info"],
            benchmark["stats"],
        )
        assert stats["median"] == pytest.approx(record.latency_p50, rel=1e-6)
        assert stats["median"] == pytest.approx(statistics.median(record.samples), rel=1e-6)
        assert stats["rounds"] == len(record.samples)
        assert extra["throughput"] == record.throughput
        assert (extra["error"], extra["status"], extra["unit"]) == (record.error, "ok", "sample")
        assert extra["facts"]["graph_hash"] == record.facts["graph_hash"]
    compared = project.pytester.run(sys.executable, "-m", "pytest_benchmark", "compare", "out.json")
    compared.stdout.fnmatch_lines(["test_throughput[[]one-b8-cpu-eager-fp32]*"])
    assert compared.ret == 0
    again = project.run("-k", "one", "--benchmark-compare", "--benchmark-histogram=plot")
    again.stdout.fnmatch_lines(["*test_throughput[[]one-b8-cpu-eager-fp32] (NOW)*"])
    if not list(project.path.glob("plot*.svg")):
        output = again.stdout.str() + again.stderr.str()
        # its own words for what it lacks
        assert "pygal" in output or "pytest-benchmark[histogram]" in output


def test_a_users_own_benchmark_marker_is_heeded(project):
    project.suite(
        """
        CASES = (Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),)
    """,
        """
        @pytest.mark.cells(CASES)
        @pytest.mark.benchmark(group="mine")
        def test_speed(cell, benchmark):
            cell.measure(benchmark)

        def test_plain(benchmark):
            benchmark(sum, [1, 2])
    """,
    )
    result = project.run("-W", "error")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*benchmark 'mine': 1 tests*"])
    result.stdout.fnmatch_lines(["test_plain *"])
    assert result.ret == 0


def test_disabled_cells_are_checked_and_not_timed(project):
    result = project.run("--benchmark-disable", "-k", "one")
    result.assert_outcomes(passed=2, deselected=2)
    assert result.ret == 0
    assert {(record.status, record.throughput) for record in project.records().values()} == {
        ("ok", None)
    }


def test_skip_leaves_the_checks(project):
    result = project.run("--benchmark-skip", "-k", "one")
    assert result.parseoutcomes()["passed"] == 1
    assert result.ret == 0
    assert project.statuses() == {"one-b8-cpu-eager-fp32": "ok"}


def test_only_checks_all_the_same(project):
    project.backend("off", "tensor + 1")
    result = project.run("--benchmark-only", "-k", "one", targets="cpu-eager-fp32,cpu-off-fp32")
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["failed"]) == (1, 1)
    result.stdout.fnmatch_lines(["one-b8-cpu-off-fp32: parity_failed: *"])
    assert result.ret == 10


def test_without_pytest_benchmark_cells_are_measured_and_recorded(project):
    result = project.run("-p", "no:benchmark", "-W", "error", "-k", "one")
    result.assert_outcomes(passed=2, deselected=2)
    assert "benchmark 'one" not in result.stdout.str()
    assert result.ret == 0
    assert project.records()["one-b8-cpu-eager-fp32"].throughput > 0


def test_a_cell_that_fails_is_no_second_failure_for_its_unused_fixture(project):
    project.backend("off", "tensor + 1")
    result = project.run("-W", "error", "-k", "one", targets="cpu-eager-fp32,cpu-off-fp32")
    result.assert_outcomes(passed=2, failed=1, skipped=1, deselected=4)
    assert "fixture was not used" not in result.stdout.str()
