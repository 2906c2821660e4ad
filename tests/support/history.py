"""A history to tell of: runs of forty days on two machines, one cell that became slower, one that
failed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from paritygate.core.record import Record, Run, Status

MACHINE = {"cpu": "EPYC", "cores": 2, "threads": 2, "version_torch": "2.13.0", "load_at_start": 0.5}
OTHER = MACHINE | {"cpu": "Xeon"}
START = datetime(2026, 9, 1, 8, tzinfo=UTC)
DAYS, CHANGED = 40, 28  # on the day CHANGED the compiled CNN became slower
STEP = 1.2
EAGER = Record(
    "cnn-b32-cpu-eager-fp32",
    "cnn",
    "b32",
    "cpu",
    "eager",
    "fp32",
    Status.OK,
    unit="image",
    units=32,
    speedup=1.0,
    error=1e-7,
    error_share=0.25,
    peak_bytes=25 << 20,
    prepare_seconds=0.1,
    launches=1,
)
COMPILED = replace(
    EAGER, cell="cnn-b32-cpu-compile-fp32", backend="compile", speedup=1.8, prepare_cold_seconds=8.0
)
FAILED = replace(
    EAGER,
    cell="cnn-b32-cpu-onnxruntime-fp32",
    backend="onnxruntime",
    status=Status.PARITY_FAILED,
    reason="logits differ by 3 % at [0, 7]",
    speedup=None,
    error=0.03,
    error_share=40.0,
)


def timed(record: Record, seconds: float) -> Record:
    """The record with that median time and what follows from it."""
    return replace(
        record,
        latency_p50=seconds,
        latency_p90=seconds * 1.1,
        latency_p99=seconds * 1.3,
        throughput=record.units / seconds,
        interval_low=seconds * 0.99,
        interval_high=seconds * 1.01,
        samples=[seconds * (1 + n / 50) for n in range(10)],
    )


def commit(day: int) -> str:
    """The commit of a day."""
    return f"{day:04x}" * 10


def runs(
    machine: dict[str, object] | None = None,
    branch: str = "main",
    days: int = DAYS,
    name: str = "day",
):
    """(run, records) of each day, the oldest first."""
    draw = np.random.default_rng(7)
    found = []
    for day in range(days):
        started = (START + timedelta(days=day)).isoformat(timespec="seconds")
        run = Run(
            f"{name}-{day:03}",
            started,
            "quick",
            True,
            0,
            commit(day),
            branch,
            False,
            dict(machine or MACHINE),
        )
        slower = STEP if day >= CHANGED else 1.0
        eager, compiled = (
            1.3e-3 * np.exp(draw.normal(0, 0.01)),
            0.7e-3 * slower * np.exp(draw.normal(0, 0.01)),
        )
        found.append((run, [timed(EAGER, float(eager)), timed(COMPILED, float(compiled)), FAILED]))
    return found


# -- two runs of another cell, for what lists, moves and removes runs

OLD = Run(
    "aaaa1111",
    "2026-11-20T08:00:00+00:00",
    "quick",
    True,
    0,
    commit="0123456789abcdef",
    branch="main",
)
NEW = replace(
    OLD,
    id="aaab2222",
    started="2026-11-21T08:00:00+00:00",
    commit="fedcba9876543210",
    branch="topic",
    dirty=True,
)
FINE = Record(
    "c-s-cpu-eager-fp32",
    "c",
    "s",
    "cpu",
    "eager",
    "fp32",
    Status.OK,
    throughput=5.0,
    unit="row",
    latency_p50=0.2,
    samples=[0.1, 0.2, float("inf")],
    blocks=[[0.15]],
)
WRONG = replace(
    FINE,
    cell="c-s-cpu-compile-fp32",
    backend="compile",
    status=Status.PARITY_FAILED,
    reason="off by 1",
)
