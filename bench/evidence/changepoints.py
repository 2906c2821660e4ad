"""Measure how often a clean history is called changed, and how soon a step of 3 sd is found.
Compare with apache-otava's defaults.

    python -m bench.evidence.changepoints --series 1000 --otava /path/of/python

Writes ``reports/evidence/changepoints.csv``. ``--otava`` is an interpreter with apache-otava: its
dependencies exclude ours, so it needs an environment of its own (python -m venv otava;
otava/bin/pip install apache-otava). It gets the same series and runs with its published defaults:
window 50, p below 0.001, no smallest magnitude.
"""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

from evidence import command_line
from paritygate_reports.analysis import change_point_detection

Array = NDArray[np.float64]
LENGTH = 200  # runs of a history
STEP = 3.0  # sd of the noise without its spikes
PLACE = Path("reports/evidence/changepoints.csv")
OTAVA = """
import json, sys
from otava.analysis import compute_change_points
found = [compute_change_points(s, window_len=50, max_pvalue=0.001, min_magnitude=0.0)[0] for s in json.load(sys.stdin)]
print(json.dumps([[int(point.index) for point in points] for points in found]))
"""


def white(draw: np.random.Generator, n: int) -> Array:
    """Return white noise."""
    return draw.standard_normal(n)


def remembering(memory: float) -> Callable[[np.random.Generator, int], Array]:
    """Return a function for AR(1) noise of variance 1: every value keeps the share ``memory`` of
    the one before.
    """

    def noise(draw: np.random.Generator, n: int) -> Array:
        chance = draw.standard_normal(n + 100) * np.sqrt(1 - memory**2)
        series = np.zeros(n + 100)
        for at in range(1, n + 100):
            series[at] = memory * series[at - 1] + chance[at]
        return series[100:]

    return noise


def spiked(draw: np.random.Generator, n: int) -> Array:
    """Return noise in which 2 % of the runs are 5 to 20 sd slower, as by other load."""
    return draw.standard_normal(n) + (draw.random(n) < 0.02) * draw.uniform(5, 20, n)


def heavy(draw: np.random.Generator, n: int) -> Array:
    """Return Student's t noise with 4 degrees of freedom, of variance 1."""
    return draw.standard_t(4, n) / np.sqrt(2.0)


def drifting(draw: np.random.Generator, n: int) -> Array:
    """Return noise with a straight drift of 3 sd over the whole history."""
    return draw.standard_normal(n) + np.linspace(0, STEP, n) * draw.choice([-1.0, 1.0])


def seasonal(draw: np.random.Generator, n: int) -> Array:
    """Return noise with weekdays: a period of seven runs, one sd from top to bottom."""
    return draw.standard_normal(n) + 0.5 * np.sin(2 * np.pi * (np.arange(n) / 7 + draw.random()))


def everything(draw: np.random.Generator, n: int) -> Array:
    """Return AR(1) noise of 0.3, with spikes of 2 % and a drift of one sd."""
    spikes = (draw.random(n) < 0.02) * draw.uniform(5, 20, n)
    return remembering(0.3)(draw, n) + spikes + np.linspace(0, 1, n) * draw.choice([-1.0, 1.0])


NOISES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "white": white,
    "AR(1) 0.3": remembering(0.3),
    "AR(1) 0.5": remembering(0.5),
    "spikes 2 %": spiked,
    "heavy tails": heavy,
    "drift 3 sd": drifting,
    "weekdays": seasonal,
    "AR, spikes and drift": everything,
}


def fresh(noise: Callable[[np.random.Generator, int], Array], draw: np.random.Generator) -> Array:
    """Return a history whose last three runs are slower by ``STEP``."""
    return noise(draw, LENGTH) + STEP * (np.arange(LENGTH) >= LENGTH - 3)


def lasting(
    noise: Callable[[np.random.Generator, int], Array], draw: np.random.Generator
) -> tuple[Array, int]:
    """Return a history that became slower by ``STEP`` in its middle half, and the position."""
    at = int(draw.integers(LENGTH // 4, 3 * LENGTH // 4))
    return noise(draw, LENGTH) + STEP * (np.arange(LENGTH) >= at), at


def ours(series: Sequence[Array]) -> list[list[int]]:
    """Return the positions of the level shifts that paritygate finds."""
    return [
        [shift.position for shift in change_point_detection.find(one)]
        for one in tqdm(series, leave=False, disable=None)
    ]


def otava(python: str) -> Callable[[Sequence[Array]], list[list[int]]]:
    """Return a function that finds level shifts by apache-otava, under that interpreter."""

    def find(series: Sequence[Array]) -> list[list[int]]:
        # its magnitudes are relative: keep away from zero
        given = json.dumps([list(one + 100) for one in series])
        done = subprocess.run(
            [python, "-c", OTAVA], input=given, capture_output=True, text=True, check=True
        )
        shifts: list[list[int]] = json.loads(done.stdout)
        return shifts

    return find


def measure(
    name: str, find: Callable[[Sequence[Array]], list[list[int]]], noise: str, count: int
) -> dict[str, object]:
    """Return one row: false detections, and the share of steps that were found."""
    make = NOISES[noise]
    draw = np.random.default_rng([count, list(NOISES).index(noise)])
    clean = find([make(draw, LENGTH) for _ in range(count)])
    new = find([fresh(make, draw) for _ in range(count)])
    old = [lasting(make, draw) for _ in range(count)]
    near = sum(
        any(abs(position - at) <= 3 for position in positions)
        for positions, (_, at) in zip(find([one for one, _ in old]), old, strict=True)
    )
    false = sum(map(len, clean))
    return {
        "detector": name,
        "noise": noise,
        "series": count,
        "false": false,
        "false_per_series": false / count,
        "at_most": _at_most(sum(map(bool, clean)), count),
        "found_after_3_runs": sum(any(p >= LENGTH - 6 for p in positions) for positions in new)
        / count,
        "found_within_3_of_place": near / count,
    }


def oracle(memory: float, alpha: float = 0.01) -> float:
    """Return how often a step is found after three runs by a detector that knows the noise: memory,
    level and spread of AR(1).

    No detector is better with a false alarm in at most ``alpha`` of the histories, shared evenly
    among their positions. The innovations (y - memory x the run before) are independent, so this is
    the test of Neyman and Pearson.
    """
    shifts = np.array([STEP, STEP * (1 - memory), STEP * (1 - memory)])
    strength = np.linalg.norm(shifts) / np.sqrt(1 - memory**2)
    return float(stats.norm.sf(stats.norm.isf(alpha / LENGTH / 2) - strength))


def _at_most(hits: int, count: int) -> float:
    """Return the upper end of the 95 % interval of a share (Clopper and Pearson, one-sided)."""
    return 1.0 if hits == count else round(float(stats.beta.ppf(0.95, hits + 1, count - hits)), 4)


def main() -> None:
    """Measure every noise with every detector, print the table and write it."""
    parser = command_line.parser()
    parser.add_argument(
        "--series", type=int, default=1000, metavar="N", help="clean ones, and as many with a step"
    )
    parser.add_argument("--otava", metavar="PYTHON", help="an interpreter with apache-otava")
    parsed = parser.parse_args()
    detectors = {"paritygate": ours} | ({"otava": otava(parsed.otava)} if parsed.otava else {})
    rows = [
        measure(name, find, noise, parsed.series)
        for noise in tqdm(NOISES, disable=None)
        for name, find in detectors.items()
    ]
    for row in rows:
        print(
            f"{row['detector']:<11}{row['noise']:<22}{row['false_per_series']:>8.2%} false a series (at most "
            f"{row['at_most']:.2%} of series)  after three runs {row['found_after_3_runs']:.1%}  "
            f"place within 3 {row['found_within_3_of_place']:.1%}"
        )
    for memory in (0.0, 0.3, 0.5):
        print(
            f"a detector that knows the noise, memory {memory}: after three runs {oracle(memory):.1%}"
        )
    with PLACE.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
