"""Tolerance: the rows of ``tolerances.csv``, calibrated by ``python -m bench.evidence.calibrate``."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

COLUMNS = ("floor", "ratio", "cap", "outlier", "least", "parts")  # of the table, as ``Tolerance`` has them


@dataclass(frozen=True)
class Tolerance:
    """A row of the table: how far from float64 an answer may be.

    ``least``: of gradients, the share of what its size lets expect that a part counts as having at least; one that is
    zero but for rounding, as those of a key's bias are in attention, is wholly wrong in eager, too. ``parts``: 1 where
    the parts of an output are judged besides the whole, else 0.
    """

    policy: str
    floor: float
    ratio: float
    cap: float
    outlier: float
    least: float = 0.0
    parts: float = 1.0


@cache
def tolerances() -> dict[str, Tolerance]:
    """The table by policy name."""
    with (Path(__file__).parent / "tolerances.csv").open(newline="") as file:
        return {
            row["policy"]: Tolerance(row["policy"], *(float(row[key] or 0) for key in COLUMNS))
            for row in csv.DictReader(file)
        }
