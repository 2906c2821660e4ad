"""Make ``reports/evidence/entry_point.json``: the time that paritygate adds to a pytest run without
cells.

    python -m bench.evidence.entry_point

Runs pytest on a folder with one empty test, with the two plugins of the environment and without
them, in turn and in random order. Prints the median of the differences of pairs, with its 95 %
interval.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from evidence import command_line
from paritygate.host import machine
from paritygate.timing import schedule

OUT = Path("reports/evidence/entry_point.json")
ALLOWED = 0.020  # seconds that a project without cells may be slower
WITHOUT = ("-p", "no:paritygate.plugin", "-p", "no:paritygate_reports.plugin")


def main() -> None:
    """Measure, write the file and print."""
    parser = command_line.parser()
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_one.py").write_text("def test_one():\n    pass\n")
        pytest_seconds(folder, ())  # caches of the interpreter
        pairs = [pair(folder) for _ in range(arguments.pairs)]
    differences = [with_it - without for with_it, without in pairs]
    result = {
        "command": "python -m bench.evidence.entry_point",
        "cpu": machine.facts()["cpu"],
        "pairs": len(pairs),
        "pytest_seconds": statistics.median(without for _, without in pairs),
        "slower_by_seconds": statistics.median(differences),
        "interval": schedule.median_interval(differences),
        "allowed": ALLOWED,
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    print(
        f"a pytest without cells takes {result['pytest_seconds'] * 1e3:.0f} ms, and "
        f"{statistics.median(differences) * 1e3:.1f} ms more with paritygate installed"
    )
    raise SystemExit(int(statistics.median(differences) > ALLOWED))


def pair(folder: str) -> tuple[float, float]:
    """Return seconds with the plugins and without them, one after the other in random order."""
    seconds = {}
    for arguments in random.sample([(), WITHOUT], 2):
        seconds[arguments] = pytest_seconds(folder, arguments)
    return seconds[()], seconds[WITHOUT]


def pytest_seconds(folder: str, arguments: tuple[str, ...]) -> float:
    """Return the seconds of one pytest in the folder."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
