"""Targets of a GPU where there is none: what would be collected and planned is exact, what is run
ends in a status.

The GPU is a fake of NVML's; torch is the real one, and tells that it cannot reach it.
"""

from __future__ import annotations

import pytest

WITH_A_GPU = """
    from paritygate.session import targets

    pytest_plugins = ["paritygate.plugin", "paritygate_reports.plugin"]
    targets.absent = lambda device: None
"""
CASES = """
    CASES = (
        Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),
    )
"""


@pytest.fixture(name="pretending")
def _pretending(project):
    project.write("conftest.py", WITH_A_GPU)
    project.suite(CASES)
    return project


def collected(result):
    return [
        line.partition("[")[2].rstrip("]") for line in result.outlines if "::test_parity[" in line
    ]


@pytest.mark.parametrize(
    ("terms", "cells"),
    [
        ("cuda-*-fp32", ["eager", "compile", "compile_reduce_overhead", "compile_max_autotune"]),
        ("cuda", ["eager", "compile", "onnxruntime"]),
    ],
)
def test_what_a_gpu_would_run_is_collected(pretending, terms, cells):
    found = collected(pretending.run("--collect-only", "-q", targets=terms))

    assert found[: len(cells)] == [f"one-b8-cuda-{backend}-fp32" for backend in cells]
    assert not [cell for cell in found if "-cpu-" in cell]


def test_a_present_gpu_is_part_of_every_run(pretending):
    found = collected(pretending.run("--collect-only", "-q", targets="present"))

    assert found == [
        f"one-b8-{device}-{backend}-fp32"
        for device in ("cpu", "cuda")
        for backend in ("eager", "compile", "onnxruntime")
    ]


def test_a_gpu_that_cannot_be_reached_costs_its_own_cells_only(pretending, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # also where there is one
    result = pretending.run(targets="cpu-eager-fp32,cuda-eager-fp32")

    statuses = pretending.statuses()
    assert statuses["one-b8-cpu-eager-fp32"] == "ok"
    assert statuses["one-b8-cuda-eager-fp32"] == "failed"
    assert result.ret == 12
    by_build = (
        "Torch not compiled with CUDA enabled|Found no NVIDIA driver|No CUDA GPUs are available"
    )
    result.stdout.re_match_lines([f".*({by_build})"])
