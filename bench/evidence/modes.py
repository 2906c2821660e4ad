"""Makes ``reports/evidence/sdpa_modes.csv``: whether SDPA's second mode is of the process or of the moment.

    python -m bench.evidence.modes --launches 20

Two processes in laboratory conditions run the same eager SDPA (4x8x128x64) in alternating blocks, launch after launch.
A mode that belongs to a process would show in the ratio of the two; one that belongs to the machine hits both.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
from pathlib import Path

from bench import probes, spread

OUT = Path("reports/evidence/sdpa_modes.csv")
SIDES = {"one": True, "other": True}


def main() -> None:
    """Measure, write, summarise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", type=int, default=20)
    arguments = parser.parse_args()
    cells = spread.cells_of([probes.SDPA], ["eager"])
    found = spread.launches(cells, arguments.launches, Path(".paritygate"), seconds=0.6, sides=SIDES, say=str)
    pairs: dict[int, dict[str, float]] = {}
    for row in found:
        pairs.setdefault(row.launch, {})[row.side] = row.block_median
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with OUT.open("w", newline="") as file:
        file.write(f"# python -m bench.evidence.modes --launches {arguments.launches}; seconds per call\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("launch", *SIDES, "log_ratio"))
        for launch, sides in pairs.items():
            one, other = (sides[side] for side in SIDES)
            writer.writerow((launch, f"{one:.6g}", f"{other:.6g}", f"{math.log(one / other):.4f}"))
    ratios = [math.log(sides["one"] / sides["other"]) for sides in pairs.values()]
    levels = [sides["one"] for sides in pairs.values()]
    print(f"{len(pairs)} launches: level {min(levels) * 1e3:.3f} to {max(levels) * 1e3:.3f} ms "
          f"(median {statistics.median(levels) * 1e3:.3f}); between two processes at the same time the sd is "
          f"{statistics.stdev(ratios):.2%}, the largest difference {max(map(abs, ratios)):.2%}")  # fmt: skip


if __name__ == "__main__":
    main()
