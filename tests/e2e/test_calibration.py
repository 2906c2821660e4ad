"""Calibration kernels: timed in a process of their own, and nothing is lost where that fails."""

from __future__ import annotations

import os

import pytest

from paritygate.host import calibration
from paritygate.host.calibration import BLOCK_SECONDS, KERNELS, measure, timed


def test_every_kernel_is_timed_in_a_process_of_its_own():
    found = measure(dict(os.environ), 2)

    assert tuple(found) == ("numpy", *KERNELS)
    assert all(0 < found[kernel] < 1 for kernel in KERNELS)


def test_the_median_of_blocks_forgives_one_that_was_disturbed():
    now = [0.0]
    durations = iter([1e-3] * 30 + [0.5] + [1e-3] * 1000)

    def kernel():
        now[0] += next(durations)

    assert timed(kernel, lambda: now[0]) == pytest.approx(1e-3)
    assert now[0] > 0.5 + 5 * BLOCK_SECONDS


@pytest.mark.parametrize(
    "program", ["print('no json')", "raise SystemExit(1)", "import time; time.sleep(60)"]
)
def test_a_failure_costs_the_run_nothing(monkeypatch, tmp_path, program):
    folder = tmp_path / "paritygate" / "host"
    folder.mkdir(parents=True)
    (folder / "calibration.py").write_text(program)
    for package in (folder, folder.parent):
        (package / "__init__.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(calibration, "DEADLINE", 2.0)

    assert measure(dict(os.environ) | {"PYTHONPATH": str(tmp_path)}, 2) == {}
