"""Calibration: a few small kernels. Their times show on another day whether the machine itself has
changed.

They are timed once in each run, before its first cell, in a process of their own in laboratory
conditions. They use numpy, so that a new torch does not change them. No other time is divided by
theirs: a machine does not change by one factor for everything that runs on it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

KERNELS = ("gemm", "triad", "dispatch", "fork_join")
BLOCKS, BLOCK_SECONDS = 5, 0.02
DEADLINE = 60.0  # seconds; it takes less than one


def measure(environment: Mapping[str, str], threads: int) -> dict[str, Any]:
    """Return the seconds per call of each kernel, by name, measured in a process with that
    environment. Return an empty dict where that fails.

    ``numpy`` holds numpy's version: times of two versions are not compared.
    """
    command = [sys.executable, "-m", "paritygate.host.calibration", str(threads)]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=DEADLINE
        )
        times: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}  # the run goes on; comparisons with earlier runs lack the calibration
    return times


def kernels(threads: int, pool: ThreadPoolExecutor) -> dict[str, Callable[[], Any]]:
    """Return the kernels: arithmetic, memory, Python calls, and work that is split over threads and
    joined.
    """
    import numpy as np

    draw = np.random.default_rng(0)
    square = draw.random((256, 256), dtype=np.float32)
    long, other, out = draw.random(1 << 21), draw.random(1 << 21), np.empty(1 << 21)
    short = draw.random(8)
    parts = np.array_split(long, threads)

    def triad() -> None:
        np.multiply(other, 3.0, out=out)
        np.add(out, long, out=out)

    def dispatch() -> None:
        for _ in range(500):
            short + short

    return {
        "gemm": lambda: square @ square,
        "triad": triad,
        "dispatch": dispatch,
        "fork_join": lambda: list(pool.map(np.sort, parts)),
    }


def timed(kernel: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds per call: the median over blocks of their means. The first block is
    warm-up and does not count.
    """
    means = []
    for _ in range(BLOCKS + 1):
        start, calls = clock(), 0
        while (passed := clock() - start) < BLOCK_SECONDS:
            kernel()
            calls += 1
        means.append(passed / calls)
    return statistics.median(means[1:])


def main() -> None:
    """Print the seconds of every kernel as JSON."""
    threads = int(sys.argv[1])
    with ThreadPoolExecutor(threads) as pool:
        times = {name: timed(kernel) for name, kernel in kernels(threads, pool).items()}
    print(json.dumps({"numpy": version("numpy"), **times}))


if __name__ == "__main__":
    main()
