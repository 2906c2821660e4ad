"""Make ``reports/evidence/million.json``: the time and memory to read a million records.

    python -m bench.evidence.million
    python -m bench.evidence.million --store postgresql+psycopg://user@host/empty

Writes a history of 500 cells in 2,000 runs into an empty store: a SQLite file in a temporary
folder, or the store of --store. The history has some level shifts, three machines, branches, failed
cells, and samples in their own table. Then times each of STEPS in a fresh process, imports
included, with its peak memory.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from evidence import command_line
from paritygate.core.record import Record, Run, Status
from paritygate.host import machine
from paritygate_reports.store.store import Store

OUT = Path("reports/evidence/million.json")
COLUMNS = (
    "run",
    "started",
    "commit",
    "branch",
    "cell",
    "status",
    "latency_p50",
    "throughput",
    "machine",
)
STEPS = {
    "load": "frame = paritygate_reports.load(store, columns=columns); assert len(frame) == records",
    "compare": "from paritygate_reports.analysis.against_history import advise\n"
    "from paritygate_reports.store.store import Store; opened = Store(store)\n"
    "assert advise(opened, 'main', opened.find('latest')).rows",
    "change points": "frame = paritygate_reports.load(store, columns=columns)\n"
    "assert 'confirm' in paritygate_reports.changepoints(frame)",
    "load, compare, HTML": "from paritygate_reports.view.page import page_of\n"
    "from paritygate_reports.renderers.html import render\n"
    "from paritygate_reports.store.store import Store; assert 'Trends' in render(page_of(Store(store)))",
}
"""Name -> code. It may use ``paritygate_reports``, ``store`` (URL), ``columns`` (of the trends) and
``records``."""
PROGRAM = """
import json, sys, time
start = time.perf_counter()
import paritygate_reports
store, columns, records = sys.argv[1], sys.argv[2].split(), int(sys.argv[3])
CODE
seconds = time.perf_counter() - start
peak = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"seconds": seconds, "peak_bytes": peak}))
"""
BACKENDS = ("eager", "compile", "onnxruntime")
MACHINES = tuple(
    {"cpu": cpu, "cores": 2, "threads": 2, "python": "3.11.7", "version_torch": "2.13.0"}
    for cpu in ("AMD EPYC 7763", "Intel Xeon 8370C", "AMD EPYC 9V74")
)
FACTS = {
    "settings": {
        "threads": 2,
        "matmul_precision": "highest",
        "deterministic": False,
        "mkldnn": True,
    },
    "cpu_capability": "AVX512",
    "graph_hash": "3920614cd57a",
    "graphs": 1,
    "checked_sets": 4,
}
PARITY = {
    "agrees": True,
    "error": 3.2e-07,
    "allowed": 2e-06,
    "share": 0.16,
    "ratio": 0.64,
    "compared": 1280,
}
AT_ONCE = 20  # runs in a transaction


def history(runs: int, cells: int) -> Iterator[tuple[Run, list[Record]]]:
    """Yield the runs with their records, the oldest first, always the same ones."""
    draw = np.random.default_rng(0)
    base = np.exp(draw.uniform(np.log(1e-4), np.log(5e-2), cells))
    levels = np.ones((runs, cells))
    # one cell in ten changes its level, twice
    for cell in np.flatnonzero(draw.random(cells) < 0.1):
        for first in draw.integers(0, runs, 2):
            levels[first:, cell] *= np.exp(draw.choice([-1, 1]) * draw.uniform(0.03, 0.15))
    for number in range(runs):
        place = draw.choice(3, p=[0.6, 0.3, 0.1])
        seconds = (
            base * levels[number] * (1, 1.15, 0.9)[place] * np.exp(draw.normal(0, 0.015, cells))
        )
        started = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=6 * number)
        run = Run(
            f"{number:08x}-0000-4000-8000-000000000000",
            started.isoformat(timespec="seconds"),
            "quick",
            True,
            0,
            hashlib.sha256(b"%d" % number).hexdigest()[:40],
            f"topic-{number}" if number % 10 == 9 else "main",
            False,
            dict(MACHINES[place]),
        )
        failed = draw.random(cells) < 0.002
        yield (
            run,
            [_record(cell, float(seconds[cell]), bool(failed[cell])) for cell in range(cells)],
        )


def _record(number: int, seconds: float, failed: bool) -> Record:
    case, shape, backend = f"model_{number // 6}", f"b{8 << number // 3 % 2}", BACKENDS[number % 3]
    cell = f"{case}-{shape}-cpu-{backend}-fp32"
    if failed:
        return Record(
            cell, case, shape, "cpu", backend, "fp32", Status.FAILED, "recompiled 3 times"
        )
    return Record(
        cell,
        case,
        shape,
        "cpu",
        backend,
        "fp32",
        Status.OK,
        unit="sample",
        units=8,
        throughput=8 / seconds,
        latency_p50=seconds,
        latency_p90=1.1 * seconds,
        latency_p99=1.3 * seconds,
        interval_low=0.99 * seconds,
        interval_high=1.01 * seconds,
        launches=1,
        calls_per_sample=1,
        samples_seen=500,
        stop="precision",
        error=3.2e-07,
        error_allowed=2e-06,
        error_share=0.16,
        reference="float64",
        peak_bytes=80 << 20,
        prepare_seconds=0.1,
        parameters=10**7,
        facts=FACTS,
        parity=PARITY,
        blocks=[[seconds]],
        samples=[seconds] * 10,
    )


def make(store: Store, runs: int, cells: int) -> None:
    """Write the history, ``AT_ONCE`` runs in each transaction."""
    waiting: list[tuple[Run, list[Record]]] = []
    for number, run in enumerate(tqdm(history(runs, cells), "writing", runs, disable=None), 1):
        waiting.append(run)
        if len(waiting) == AT_ONCE or number == runs:
            store.write_runs(waiting)
            waiting = []


def step(code: str, store: str, records: int) -> dict[str, float]:
    """Return seconds and peak bytes of a fresh process that runs the code."""
    command = [
        sys.executable,
        "-c",
        PROGRAM.replace("CODE", code),
        store,
        " ".join(COLUMNS),
        str(records),
    ]
    cost: dict[str, float] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return cost


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the store, time the steps, print the table and write the file."""
    parser = command_line.parser()
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument(
        "--store", metavar="URL_OR_FILE", help="an empty one (default: in a temporary folder)"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    parsed = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "million.sqlite"
        where = parsed.store or str(file)
        start = time.perf_counter()
        store = Store(where)
        if store.runs():
            parser.error(f"{store.name} has runs already; use an empty store")
        make(store, parsed.runs, parsed.cells)
        facts = machine.facts()
        result: dict[str, Any] = {
            "runs": parsed.runs,
            "cells": parsed.cells,
            "records": parsed.runs * parsed.cells,
            "database": where.partition(":")[0] if parsed.store else "sqlite",
            "written_seconds": time.perf_counter() - start,
            "bytes": file.stat().st_size if file.exists() else None,
            "machine": {
                name: facts.get(name) for name in ("cpu", "cores", "python", "version_pandas")
            },
            "steps": {
                name: step(code, where, parsed.runs * parsed.cells) for name, code in STEPS.items()
            },
        }
    print(f"{result['records']:,} records written in {result['written_seconds']:.0f} s")
    for name, cost in result["steps"].items():
        print(f"{name:<20} {cost['seconds']:8.2f} s {cost['peak_bytes'] / 2**20:8.0f} MiB")
    parsed.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
