"""Show the cost of a call of ``torch.set_num_threads`` with the present number of threads.

    python -m bench.evidence.threads --launches 10

Runs fresh laboratory processes in turn, one of each kind in a launch: eager attention 4x8x128x64
with and without the call. Prints the medians and the ratio, paired within launches.
"""

from __future__ import annotations

import math
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

from evidence import command_line
from paritygate.host import machine
from paritygate.process import environment

SCRIPT = """
import statistics, sys, time, torch
if sys.argv[1] == "call":
    torch.set_num_threads(torch.get_num_threads())
attention = torch.nn.functional.scaled_dot_product_attention
sets = [tuple(torch.randn(4, 8, 128, 64) for _ in range(3)) for _ in range(4)]
times = []
with torch.inference_mode():
    for turn in range(2000):
        start = time.perf_counter()
        attention(*sets[turn % 4])
        times.append(time.perf_counter() - start)
print(statistics.median(times[500:]))
"""


def main() -> None:
    """Measure and print."""
    parser = command_line.parser()
    parser.add_argument("--launches", type=int, default=10)
    arguments = parser.parse_args()
    cache = Path(".paritygate/cache").absolute()
    environ = environment.environment(
        os.environ, threads=machine.threads(), cache=cache, laboratory=True
    )
    times: dict[str, list[float]] = {"call": [], "none": []}
    for _ in range(arguments.launches):
        for kind in random.sample(list(times), 2):
            command = [sys.executable, "-c", SCRIPT, kind]
            done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
            times[kind].append(float(done.stdout))
    ratios = [math.log(a / b) for a, b in zip(times["call"], times["none"], strict=True)]
    print(
        f"without the call {statistics.median(times['none']) * 1e3:.3f} ms, with it "
        f"{statistics.median(times['call']) * 1e3:.3f} ms; ratio {math.exp(statistics.median(ratios)):.3f} "
        f"({math.exp(min(ratios)):.3f} to {math.exp(max(ratios)):.3f})"
    )


if __name__ == "__main__":
    main()
