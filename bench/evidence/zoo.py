"""Make ``reports/evidence/zoo.csv`` and ``zoo_cells.csv``: how the zoo agrees on each backend, by
family and by cell.

    python -m bench.evidence.zoo
    python -m bench.evidence.zoo --targets onnxruntime --seeds 5

Checks the cases that the store does not hold yet, some at a time, so it can be stopped and started
again. Times nothing. Cells that are not ok are listed with their reasons;
``tests/slow/zoo_limits.csv`` names the limits of backends.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path

from evidence.checking import check
from paritygate.core import reasons
from paritygate.core.record import Record, Status
from paritygate_reports.store.store import Store

OUT = Path("reports/evidence/zoo.csv")
STORE = ".paritygate/zoo.sqlite"
CELLS = Path("reports/evidence/zoo_cells.csv")
# Neighbours in the tables belong to one family: every twentieth comes first, so that a part of the
# work covers all families.
STRIDE = 20
AT_ONCE = 10  # cases in one pytest; a killed run loses only these


def main() -> None:
    """Check the missing cases, then summarise."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", default="fp32,bf16")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("-k", dest="select", default="", help="a part of the names, e.g. bert")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument(
        "--summary", action="store_true", help="check nothing, summarise what the store holds"
    )
    arguments = parser.parse_args()
    families = _families()
    store = Store(STORE)
    names = [name for name in families if arguments.select in name]
    for seed in range(arguments.seeds if not arguments.summary else 0):
        known = {
            record.case
            for run in store.runs()
            if run.seed == seed
            for record in store.records(run.id)
            if _asked(record, arguments.targets)
        }
        every = sorted(enumerate(names), key=lambda numbered: (numbered[0] % STRIDE, numbered[0]))
        missing = [name for _, name in every if name not in known]
        for start in range(0, len(missing), AT_ONCE):
            _check(missing[start : start + AT_ONCE], seed, arguments.targets, store)
            print(
                f"seed {seed}: {min(start + AT_ONCE, len(missing))} of {len(missing)}",
                file=sys.stderr,
                flush=True,
            )
    _write(
        arguments.out,
        families,
        [(run.seed, record) for run in store.runs() for record in store.records(run.id)],
    )


def _families() -> dict[str, str]:
    from tests.slow.zoo_operators import OPERATORS
    from tests.slow.zoo_transformers import ARCHITECTURES

    return {name: row.family for name, row in ARCHITECTURES.items()} | {
        name: f"operators: {row.kind}" for name, row in OPERATORS.items()
    }


def _asked(record: Record, targets: str) -> bool:
    """Return whether a record shows that a case was checked for these targets."""
    fields = (record.device, record.backend, record.dtype)
    return any(
        term in fields or term == "-".join(fields) for term in targets.split(",") if term != "bf16"
    )


def _check(names: list[str], seed: int, targets: str, store: Store) -> None:
    options = {
        "--bench-budget": "quick",
        "--bench-targets": targets,
        "--bench-seed": str(seed),
    }
    chosen = {"PARITYGATE_ZOO": ",".join(names)}
    check("tests/slow/test_zoo.py", store.url, options, chosen)


def _write(path: Path, families: dict[str, str], records: list[tuple[int, Record]]) -> None:
    """Write a row for each family and target: the number of cells by status, and how close passing
    ones came to the limit. Print the others.
    """
    from tests.slow.test_zoo import limit

    latest = {(record.cell, seed): record for seed, record in records if record.case in families}
    with CELLS.open("w", newline="") as file:
        file.write("# python -m bench.evidence.zoo\n")
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["cell", "seed", "status", "share", "reason"])
        for (cell, seed), record in sorted(latest.items()):
            share = "" if record.error_share is None else f"{record.error_share:.3g}"
            table.writerow(
                [cell, seed, record.status, share, reasons.first_line(record.reason)[:200]]
            )
    counts: dict[tuple[str, str], Counter[str]] = {}
    shares: dict[tuple[str, str], float] = {}
    for record in latest.values():
        key = (families[record.case], f"{record.backend}-{record.dtype}")
        status = str(record.status)
        if record.status is not Status.OK and limit(record.cell, status, record.reason):
            status = "limit"
        counts.setdefault(key, Counter())[status] += 1
        if record.status is Status.OK:
            shares[key] = max(shares.get(key, 0.0), record.error_share or 0.0)
        elif status != "limit":
            print(f"{record.status}  {record.cell}: {record.reason[:300]}")
    statuses = [Status.OK, "limit", *(status for status in Status if status is not Status.OK)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        file.write("# python -m bench.evidence.zoo\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["family", "target", "cells", *statuses, "largest_share"])
        for key in sorted(counts):
            row = [counts[key][str(status)] for status in statuses]
            writer.writerow([*key, sum(counts[key].values()), *row, f"{shares.get(key, 0.0):.2f}"])


if __name__ == "__main__":
    main()
