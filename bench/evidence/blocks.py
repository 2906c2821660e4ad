"""Show which blocks the gate should use: the precision of a quad after the same time, by block
length and estimator.

    python -m bench.evidence.blocks --rounds 12

Runs two processes of unchanged code in ABBA and BAAB quads of several lengths in turn. Prints the
spread of a quad's value times the root of its seconds. Half of that means the same precision in a
quarter of the time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

from evidence import command_line
from paritygate.doctor import reference_cells, spread
from paritygate.gate import launch_pair, quads
from paritygate.process.timed_worker import TimedWorker
from paritygate.timing import schedule

LENGTHS = (0.012, 0.025, 0.05, 0.1)
CELLS = (("attn_naive", "eager"), ("cnn_digits", "onnxruntime"), ("bert_mini", "eager"))
ESTIMATORS: dict[str, Callable[[list[float]], float]] = {
    "median": lambda times: float(np.median(times)),
    "quartile": lambda times: float(np.quantile(times, launch_pair.QUARTILE)),
    "mean": lambda times: float(np.mean(times)),
}


def main() -> None:
    """Measure and print."""
    parser = command_line.parser()
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    cases = {case.name: case for case in reference_cells.ALL}
    for name, backend in CELLS:
        (cell,) = spread.cells_of([cases[name]], [backend])
        with spread.two_processes(cell, Path(".paritygate")) as (a, b):
            print(f"{cell.id}: spread x root of seconds")
            for length, spreads in _race(a.timed_worker(), b.timed_worker(), rounds).items():
                row = ", ".join(f"{name} {value:.2%}" for name, value in spreads.items())
                print(f"  {length * 1e3:3.0f} ms  {row}")


def _race(a: TimedWorker, b: TimedWorker, rounds: int) -> dict[float, dict[str, float]]:
    rng = random.Random(0)
    plan, _ = (schedule.warm_up(side, time.monotonic, launch_pair.WARM_UP).plan for side in (a, b))
    values: dict[tuple[float, str], list[float]] = {}
    seconds: dict[float, list[float]] = {}
    for _ in range(rounds):
        for length in rng.sample(LENGTHS, len(LENGTHS)):
            samples = max(
                min(launch_pair.FEWEST_SAMPLES, plan.samples),
                round(plan.samples * length / schedule.BLOCK_SECONDS),
            )
            times: dict[str, list[list[float]]] = {"A": [], "B": []}
            started = time.monotonic()
            for side in rng.choice(quads.ORDERS):
                times[side].append(list((a if side == "A" else b).block(plan.calls, samples)))
            seconds.setdefault(length, []).append(time.monotonic() - started)
            for name, estimate in ESTIMATORS.items():
                base, head = ([estimate(block) for block in times[side]] for side in "AB")
                values.setdefault((length, name), []).append(float(quads.quad(base, head)))
    return {
        length: {
            name: float(stats.median_abs_deviation(values[length, name], scale="normal"))
            * float(np.mean(spent)) ** 0.5
            for name in ESTIMATORS
        }
        for length, spent in sorted(seconds.items())
    }


if __name__ == "__main__":
    main()
