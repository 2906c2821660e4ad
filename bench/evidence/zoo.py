"""Make ``reports/evidence/zoo.csv`` and ``zoo_cells.csv``: how the zoo agrees on each backend, by
family and by cell.

    python -m bench.evidence.zoo
    python -m bench.evidence.zoo --targets onnxruntime --seeds 5

Checks the cases that ``zoo_cells.csv`` does not hold yet, some at a time, and adds them to it. So it
can be stopped and started again, also on another machine. Times nothing. Cells that are neither ok
nor a limit of their backend, see ``tests/slow/zoo_limits.csv``, are printed with their reasons.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from evidence import command_line
from evidence.checking import check
from paritygate.core import reasons
from paritygate.core.record import Record, Status
from paritygate_reports.store.store import Store

OUT = Path("reports/evidence/zoo.csv")
STORE = ".paritygate/zoo.sqlite"
CELLS = Path("reports/evidence/zoo_cells.csv")
COMMAND = "# python -m bench.evidence.zoo\n"
# Neighbours in the tables belong to one family: every twentieth comes first, so that a part of the
# work covers all families.
STRIDE = 20
AT_ONCE = 10  # cases in one pytest; a killed run loses only these


def main() -> None:
    """Check the missing cases, then summarise."""
    parser = command_line.parser()
    parser.add_argument("--targets", default="fp32,bf16")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("-k", dest="select", default="", help="a part of the names, e.g. bert")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument(
        "--summary", action="store_true", help="check nothing, summarise what the store holds"
    )
    arguments = parser.parse_args()
    families = _families()
    names = [name for name in families if arguments.select in name]
    rows = {(row.cell, row.seed): row for row in _known()}
    known = {(row.case, row.seed) for row in rows.values() if row.asked(arguments.targets)}
    ordered = [name for start in range(STRIDE) for name in names[start::STRIDE]]
    seeds = range(0 if arguments.summary else arguments.seeds)
    work = [  # all seeds of some cases: what one of them compiles, the others find in the cache
        (seed, missing)
        for start in range(0, len(ordered), AT_ONCE)
        for seed in seeds
        if (missing := [n for n in ordered[start : start + AT_ONCE] if (n, seed) not in known])
    ]
    for number, (seed, missing) in enumerate(work, 1):
        for row in _check(missing, seed, arguments.targets):
            rows[row.cell, row.seed] = row
        _write(CELLS, Row._fields, [rows[key] for key in sorted(rows)])
        print(
            f"{number} of {len(work)}: {missing[0]} ..., seed {seed}", file=sys.stderr, flush=True
        )
    _summarise(arguments.out, families, [row for row in rows.values() if row.case in families])


class Row(NamedTuple):
    """One cell of the zoo as ``zoo_cells.csv`` has it."""

    cell: str
    seed: int
    status: str
    share: str  # of what is allowed, "" if nothing was compared
    reason: str  # its first line
    limit: str  # why the backend cannot run the cell, "" if it can

    @classmethod
    def of(cls, record: Record, seed: int) -> Row:
        """Return the row of a record."""
        from tests.slow.test_zoo import limit

        share = "" if record.error_share is None else f"{record.error_share:.3g}"
        first = reasons.first_line(record.reason).replace(f"{Path.cwd()}/", "")[:200]
        ok = record.status is Status.OK
        why = "" if ok else limit(record.cell, str(record.status), record.reason) or ""
        return cls(record.cell, seed, str(record.status), share, first, why)

    @property
    def case(self) -> str:
        """The name of the architecture or operator."""
        return self.cell.partition("-")[0]

    @property
    def target(self) -> str:
        """Backend and dtype."""
        return "-".join(self.cell.split("-")[3:])

    def asked(self, targets: str) -> bool:
        """Return whether the row shows that its case was checked for these targets."""
        parts = self.cell.split("-", 2)[2]
        terms = [term for term in targets.split(",") if term != "bf16"]  # few cases have it
        return any(term == parts or term in parts.split("-") for term in terms)


def _known() -> list[Row]:
    if not CELLS.exists():
        return []
    with CELLS.open(newline="") as file:
        table = csv.reader(line for line in file if not line.startswith("#"))
        next(table)  # the header
        return [Row(cell, int(seed), *rest) for cell, seed, *rest in table]


def _families() -> dict[str, str]:
    from tests.slow.zoo_operators import OPERATORS
    from tests.slow.zoo_transformers import ARCHITECTURES

    return {name: row.family for name, row in ARCHITECTURES.items()} | {
        name: f"operators: {row.kind}" for name, row in OPERATORS.items()
    }


def _check(names: list[str], seed: int, targets: str) -> list[Row]:
    """Check some cases and return their rows."""
    store = Store(STORE)
    before = {run.id for run in store.runs()}
    options = {
        "--bench-budget": "quick",
        "--bench-targets": targets,
        "--bench-seed": str(seed),
    }
    check("tests/slow/test_zoo.py", store.url, options, {"PARITYGATE_ZOO": ",".join(names)})
    new = [run.id for run in store.runs() if run.id not in before]
    return [Row.of(record, seed) for run in new for record in store.records(run)]


def _summarise(path: Path, families: dict[str, str], rows: list[Row]) -> None:
    """Write a row for each family and target: the number of cells by status, and how close passing
    ones came to the limit. Print the others.
    """
    counts: dict[tuple[str, str], Counter[str]] = {}
    shares: dict[tuple[str, str], float] = {}
    for row in rows:
        key = (families[row.case], row.target)
        counts.setdefault(key, Counter())["limit" if row.limit else row.status] += 1
        if row.status == Status.OK:
            shares[key] = max(shares.get(key, 0.0), float(row.share or 0.0))
        elif not row.limit:
            print(f"{row.status}  {row.cell}, seed {row.seed}: {row.reason}")
    statuses = [Status.OK, "limit", *(status for status in Status if status is not Status.OK)]
    table = []
    for key in sorted(counts):
        numbers = [counts[key][str(status)] for status in statuses]
        table.append([*key, sum(numbers), *numbers, f"{shares.get(key, 0.0):.2f}"])
    _write(path, ("family", "target", "cells", *map(str, statuses), "largest_share"), table)


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table whole, also if the script is stopped meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        file.write(COMMAND)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    part.replace(path)


if __name__ == "__main__":
    main()
