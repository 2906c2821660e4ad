"""Show how often a first call of MKL's vector math is less exact than every later one, and that
ours is not.

    python -m bench.evidence.first_calls --processes 500

Forks so many processes of one that has only imported torch, and as many after
``paritygate.worker.vector_math.preload``. Each computes ``tanh`` of the same numbers three times in
two threads. Counts the processes in which the first answer has other bits than the third, and
prints the largest difference. With one core, with an MKL from 2025 on or without MKL both counts
are 0.
"""

from __future__ import annotations

import os
import subprocess
import sys

from evidence import command_line

# OpenMP's threads must exist before the call, so that they make the call at the same moment.
SCRIPT = """
import os, sys, torch
from paritygate.worker import vector_math
if sys.argv[1] == "preloaded":
    vector_math.preload()
x, a, b = torch.rand(8, 6, 128), torch.rand(48, 32), torch.rand(32, 96)
off = []
for _ in range(int(sys.argv[2])):
    read, write = os.pipe()
    if os.fork() == 0:
        for _ in range(20):
            a @ b, torch.nn.functional.gelu(x)
        first, _, third = (torch.tanh(x) for _ in range(3))
        os.write(write, str((first - third).abs().max().item()).encode())
        os._exit(0)
    os.close(write)
    off.append(float(os.read(read, 100)))
    os.close(read)
    os.wait()
print(sum(one > 0 for one in off), max(off))
"""


def storm(preloaded: bool, processes: int) -> tuple[int, float]:
    """Return the number of processes in which the first call differed from the third, and the
    largest difference.
    """
    command = [sys.executable, "-c", SCRIPT, "preloaded" if preloaded else "fresh", str(processes)]
    environ = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    count, worst = done.stdout.split()
    return int(count), float(worst)


def main() -> None:
    """Measure and print."""
    parser = command_line.parser()
    parser.add_argument("--processes", type=int, default=500)
    arguments = parser.parse_args()
    for preloaded in (False, True):
        count, worst = storm(preloaded, arguments.processes)
        name = "after preload()" if preloaded else "only imported"
        print(
            f"{name}: first call less exact in {count} of {arguments.processes} processes, by {worst:.2g} at most"
        )


if __name__ == "__main__":
    main()
