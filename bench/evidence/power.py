"""Make ``reports/evidence/power.csv``: the share of planted relative errors that each version of
the rule finds.

    python -m bench.evidence.power

The answers are simulated in float32: the truth, and eager's and a backend's answers with
independent noise of 1e-6 of each element's scale. An error is planted in the whole output, in one
channel, in one element of usual size, or in one of the smallest twentieth. The output is plain,
holds boxes of 500 beside scores of 0.01, holds a third of fills, holds a few huge elements, or has
heavy tails. Version 1 had one norm and one bound for the whole output. The row without an error
shows false alarms.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evidence import command_line
from paritygate.parity.rule import compare
from paritygate.parity.tolerance import tolerances

OUT = Path("reports/evidence/power.csv")
ERRORS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
NOISE = 1e-6
SETS, ROWS = 8, 8
Array = NDArray[Any]


def main() -> None:
    """Plant every error in every place of every output, many times."""
    parser = command_line.parser()
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    with arguments.out.open("w", newline="") as file:
        file.write("# python -m bench.evidence.power\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["output", "place", "error", "found_by_version_1", "found_by_version_2"])
        for output, make in OUTPUTS.items():
            for place in PLACES:
                for error in ERRORS:
                    outcomes = [_judged(make, place, error, seed) for seed in range(arguments.runs)]
                    row = [sum(each) / len(outcomes) for each in zip(*outcomes, strict=True)]
                    writer.writerow(
                        [output, place, f"{error:g}", *(f"{share:.2f}" for share in row)]
                    )
                    print(
                        f"{output:>16} {place:>10} {error:>8g}   {row[0]:.2f}  {row[1]:.2f}",
                        flush=True,
                    )


def _judged(
    make: Callable[[np.random.Generator], tuple[Array, Array]], place: str, error: float, seed: int
) -> Any:
    """Return whether version 1 and version 2 of the rule find the error."""
    rng = np.random.default_rng(seed)
    truth, scale = make(rng)
    eager, candidate = (truth + NOISE * scale * rng.standard_normal(truth.shape) for _ in range(2))
    spoiled = np.zeros(truth.shape, bool)
    legal = np.argwhere((scale > 0) & (np.abs(truth) > 0))
    if place == "whole":
        spoiled[:] = True
    elif place == "channel":
        spoiled[..., -1] = True
    else:
        order = np.argsort(np.abs(truth[tuple(legal.T)]))
        usual = (
            rng.integers(len(order) // 2, len(order)) if place == "element" else len(order) // 20
        )
        spoiled[tuple(legal[order[usual]])] = True
    signs = rng.choice([-1.0, 1.0], truth.shape)
    candidate = np.where(spoiled & (scale > 0), candidate * (1 + error * signs), candidate)
    outcome = compare(
        [[one.astype(np.float32)] for one in candidate],
        [[one.astype(np.float32)] for one in eager],
        [[one] for one in truth],
        tolerances()["fp32"],
    )
    return outcome.whole["share"] > 1, not outcome.agrees


def _plain(rng: np.random.Generator) -> tuple[Array, Array]:
    truth = rng.standard_normal((SETS, ROWS, 64))
    return truth, np.ones_like(truth)


def _boxes(rng: np.random.Generator) -> tuple[Array, Array]:
    scale = np.array([500.0, 500.0, 500.0, 500.0, 0.01]) * np.ones((SETS, ROWS, 5))
    return rng.standard_normal(scale.shape) * scale, scale


def _fills(rng: np.random.Generator) -> tuple[Array, Array]:
    truth, scale = _plain(rng)
    filled = rng.random(truth.shape) < 0.3
    return np.where(filled, -1e9, truth), np.where(filled, 0.0, scale)


def _huge(rng: np.random.Generator) -> tuple[Array, Array]:
    truth, _ = _plain(rng)
    truth[0, 0, :3] *= 1e6
    return truth, np.maximum(1.0, np.abs(truth))


def _tails(rng: np.random.Generator) -> tuple[Array, Array]:
    truth = np.exp(3 * rng.standard_normal((SETS, ROWS, 64)))
    return truth, truth


PLACES = ("whole", "channel", "element", "tail")
OUTPUTS = {
    "plain": _plain,
    "boxes and scores": _boxes,
    "fills": _fills,
    "huge elements": _huge,
    "heavy tails": _tails,
}


if __name__ == "__main__":
    main()
