"""Selecting cells with pytest's own means: each does with cells what it does with tests."""

from __future__ import annotations

import re

import pytest

from tests.support.project import CASES

OFF = "tensor + 1"  # what a wrong backend does
BOTH = "cpu-eager-fp32,cpu-off-fp32"


def items(result: pytest.RunResult) -> list[str]:
    """The ids that --collect-only -q printed."""
    return re.findall(r"::(test_\w+\[.+\])$", result.stdout.str(), re.MULTILINE)


def test_items_come_group_by_group_and_parity_before_throughput(project):
    result = project.run("--collect-only", "-q", targets="cpu-eager-fp32,cpu-onnxruntime-fp32")
    assert items(result) == [
        f"test_{kind}[{case}-cpu-{backend}-fp32]"
        for case in ("one-b8", "two-b4")
        for kind in ("parity", "throughput")
        for backend in ("eager", "onnxruntime")
    ]
    assert result.ret == 0


def test_shapes_for_parity_only_have_no_throughput(project):
    project.suite("""
        CASES = [Case("one", model="my_model:Net", inputs="my_model:inputs",
                      shapes={"b8": {"batch": 8}, "b2": {"batch": 2}}, parity_shapes={"b1": {"batch": 1}})]
    """)
    quick = [
        f"test_{item}-cpu-eager-fp32]"
        for item in ("parity[one-b8", "throughput[one-b8", "parity[one-b1")
    ]
    assert items(project.run("--collect-only", "-q")) == quick
    normal = items(project.run("--collect-only", "-q", "--bench-budget=normal"))
    assert "test_throughput[one-b2-cpu-eager-fp32]" in normal
    assert "test_throughput[one-b1-cpu-eager-fp32]" not in normal


def test_k_and_deselect_select_cells(project):
    result = project.run(
        "-k", "one", "--deselect", "test_my_model.py::test_parity[one-b8-cpu-eager-fp32]", "-v"
    )
    result.assert_outcomes(passed=1, deselected=3)
    result.stdout.fnmatch_lines(["*::test_throughput?one-b8-cpu-eager-fp32? PASSED*"])
    assert set(project.records()) == {"one-b8-cpu-eager-fp32"}
    assert project.records()["one-b8-cpu-eager-fp32"].throughput > 0


def test_lf_runs_the_cell_that_failed_and_nothing_else(project):
    project.backend("off", OFF)
    first = project.run("--benchmark-disable", "-k", "two or eager", targets=BOTH)
    first.assert_outcomes(passed=4, failed=1, skipped=1, deselected=2)
    assert first.ret == 10
    again = project.run("--benchmark-disable", "--lf", targets=BOTH)
    again.assert_outcomes(failed=1)
    assert again.ret == 10
    assert project.statuses() == {"two-b4-cpu-off-fp32": "parity_failed"}


def test_a_single_throughput_item_is_measured_against_an_eager_that_is_not_reported(project):
    project.backend("twin", "tensor")
    result = project.run("test_my_model.py::test_throughput[one-b8-cpu-twin-fp32]", targets="twin")
    result.assert_outcomes(passed=1)
    (record,) = project.records().values()
    assert record.cell == "one-b8-cpu-twin-fp32"
    assert record.speedup > 0


def test_a_throughput_item_without_its_parity_item_fails_for_itself(project):
    project.backend("off", OFF)
    result = project.run("-k", "throughput and one", targets=BOTH)
    result.assert_outcomes(passed=1, failed=1, deselected=6)
    result.stdout.fnmatch_lines(["*one-b8-cpu-off-fp32: parity_failed: *"])
    assert result.ret == 10


def test_x_stops_and_keeps_what_was_measured(project):
    project.backend("off", OFF)
    result = project.run(
        "-x", "--deselect", "test_my_model.py::test_parity[one-b8-cpu-off-fp32]", targets=BOTH
    )
    result.stdout.fnmatch_lines(["*= paritygate =*", "*stopping after 1 failures*"])
    assert result.ret == 10
    assert project.statuses() == {
        "one-b8-cpu-eager-fp32": "ok",
        "one-b8-cpu-off-fp32": "parity_failed",
    }
    assert project.records()["one-b8-cpu-eager-fp32"].throughput > 0
    assert not list((project.path / ".paritygate" / "scratch").iterdir())


def test_xdist_checks_cells_and_measures_none(project):
    result = project.run("-n", "2", "-rs")
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(
        ["*pytest-xdist runs cells beside each other*run without -n to measure*"]
    )
    assert result.stdout.str().count("= paritygate =") == 1
    assert result.ret == 14
    assert project.statuses() == {"one-b8-cpu-eager-fp32": "ok", "two-b4-cpu-eager-fp32": "ok"}


def test_a_suite_without_a_cell_here_does_not_bring_paths_and_dots_back(project):
    on_gpus = CASES.replace('Case("', 'Case("gpu_').replace(
        "shapes=", 'targets=("cuda-*",), shapes='
    )
    project.suite(on_gpus)
    (project.path / "test_my_model.py").rename(project.path / "test_a_gpu.py")
    project.suite(CASES)
    plain = project.run("--benchmark-disable")

    plain.assert_outcomes(passed=4, skipped=2)
    assert "test_my_model.py" not in plain.stdout.str()
    plain.stdout.fnmatch_lines(["?1/2, *? one b8  eager ok", "?2/2, done? two b4  eager ok"])


def test_output_levels(project):
    verbose = project.run("-v", "-s", "-W", "error", "-k", "one")
    verbose.stdout.fnmatch_lines(
        [
            "*::test_parity?one-b8-cpu-eager-fp32? PASSED*",
            "?1/1, done? one b8  eager * sample/s",
        ]
    )
    assert verbose.ret == 0
    quiet = project.run("-q", "-k", "one", "--benchmark-disable")
    assert "[1/1" not in quiet.stdout.str()
    quiet.stdout.fnmatch_lines(["..*", "*= paritygate =*", "2 passed, 2 deselected*"])
    plain = project.run("-k", "one", "--benchmark-disable")
    assert "test_my_model.py" not in plain.stdout.str()  # the group's line says more
    plain.stdout.fnmatch_lines(["?1/1, done? one b8  eager ok", "*2 passed, 2 deselected*"])
