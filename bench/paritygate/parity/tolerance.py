"""Tolerance: the rows of ``tolerances.csv``, calibrated by ``python -m
bench.evidence.calibrate``.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# of the table, as ``Tolerance`` has them
COLUMNS = (
    "floor",
    "ratio",
    "cap",
    "outlier",
    "least",
    "parts",
)
SURE = 5.2  # standard deviations; a normal number exceeds them once in ten million
ROOM = 1.5  # by which two runs of the same arithmetic may differ besides by chance


@dataclass(frozen=True)
class Tolerance:
    """A row of the table: how far from float64 an answer may be.

    ``least``: of gradients, the share of what its size lets expect that a part counts as having at
    least; one that is zero but for rounding, as those of a key's bias are in attention, is wholly
    wrong in eager, too. ``parts``: 1 where the parts of an output are judged besides the whole,
    else 0.
    """

    policy: str
    floor: float
    ratio: float
    cap: float
    outlier: float
    least: float = 0.0
    parts: float = 1.0

    def ratio_of(self, terms: NDArray[np.float64]) -> NDArray[np.float64]:
        """How many times eager's own error is allowed where that is known from so many terms: R,
        and more of few.

        Two norms of n normal errors of one size are apart by chance: half the logarithm of the
        ratio of their squares is normal with variance 1 / n (Fisher's z, 1924; n - 2 serves small
        n).
        """
        found: NDArray[np.float64] = np.maximum(
            self.ratio, ROOM * np.exp(SURE / np.sqrt(np.maximum(terms - 2, 0.5)))
        )
        return found


@cache
def tolerances() -> dict[str, Tolerance]:
    """The table by policy name."""
    with (Path(__file__).parent / "tolerances.csv").open(newline="") as file:
        return {
            row["policy"]: Tolerance(row["policy"], *(float(row[key] or 0) for key in COLUMNS))
            for row in csv.DictReader(file)
        }
