"""The zoo: architectures and operators that nobody wrote this harness for, through every backend.

A suite like a user's. ``pytest tests`` checks a sample of it that follows the commit; all of it, resumable::

    python -m bench.evidence.zoo

A cell is ok, or a true limit of a backend that ``zoo_limits.csv`` names with its reason.
"""

from __future__ import annotations

import csv
import os
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from paritygate import Case
from paritygate.core.record import Status
from paritygate.host.git import output
from tests.slow.zoo_operators import OPERATORS
from tests.slow.zoo_transformers import ARCHITECTURES
from tests.support.paths import ROOT

SHARE = 80  # one in so many is in a sample
HALF = 12  # one in so many is checked in bf16, too
CHECKED = ROOT / "reports" / "evidence" / "zoo_cells.csv"


def rows(path: Path) -> list[dict[str, str]]:
    """A table without its comments; nothing where there is none."""
    if not path.exists():
        return []
    return list(
        csv.DictReader(line for line in path.read_text().splitlines() if not line.startswith("#"))
    )


LIMITS = rows(Path(__file__).parent / "zoo_limits.csv")


def sampled() -> list[str]:
    """The names in PARITYGATE_ZOO, every one for "all", else a share of what was checked that
    follows the commit.
    """
    every = [*ARCHITECTURES, *OPERATORS]
    if asked := os.environ.get("PARITYGATE_ZOO"):
        return every if asked == "all" else [name for name in every if name in asked.split(",")]
    checked = {row["cell"].partition("-")[0] for row in rows(CHECKED)}
    names = [name for name in every if name in checked]
    return names[int((output(ROOT, "rev-parse", "HEAD") or "0")[:8], 16) % SHARE :: SHARE]


def targets(name: str) -> tuple[str, ...]:
    every = sorted([*ARCHITECTURES, *OPERATORS])
    return ("*-fp32", "*-bf16") if every.index(name) % HALF == 0 else ("*-fp32",)


CASES = tuple(
    Case(
        name,
        model=f"tests.slow.{module}:{name}",
        inputs=f"tests.slow.{module}:{name}_inputs",
        shapes={"b3_s24": {"batch": 3, "seq": 24}, "b1_s16": {"batch": 1, "seq": 16}},
        targets=targets(name),
        preload=("transformers",) if module == "zoo_transformers" else (),
        deadline=900,
    )
    for name in sampled()
    for module in ("zoo_transformers" if name in ARCHITECTURES else "zoo_operators",)
)


def limit(cell: str, status: str, reason: str) -> str | None:
    """Why a backend cannot run a cell, as the table of limits says; None where it does not."""
    case, _, device, backend, dtype = cell.split("-")
    for row in LIMITS:
        fits = fnmatchcase(case, row["case"]) and fnmatchcase(
            f"{device}-{backend}-{dtype}", row["target"]
        )
        if fits and status == row["status"] and re.search(row["reason"], reason):
            return row["why"]
    return None


@pytest.mark.cells(CASES)
def test_parity(cell):
    record = cell.record
    # Not a fault of anybody's here, and named with its reason in a table that everybody can read.
    if record.status is not Status.OK and (
        why := limit(cell.id, str(record.status), record.reason)
    ):
        pytest.skip(f"a limit of the backend: {why}")
    cell.assert_parity()
