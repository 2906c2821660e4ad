"""Tolerance: the rows of ``tolerances.csv``, from ``python -m bench.evidence.calibrate``."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# columns of the table, in the order of the fields of ``Tolerance``
COLUMNS = (
    "floor",
    "ratio",
    "cap",
    "outlier",
    "least",
    "parts",
)
SURE = 5.2  # standard deviations; a normal number exceeds them once in ten million
ROOM = 1.5  # ratio by which two runs of the same arithmetic may differ, beside chance


@dataclass(frozen=True)
class Tolerance:
    """A row of the table: how far from float64 an answer may be.

    ``least``: for gradients. The norm of one gradient counts as at least this share of the norm
    that its size lets expect. A gradient that is zero but for rounding, like that of a key's bias
    in attention, is wholly wrong in eager, too. ``parts``: 1 where the parts of an output are
    judged beside the whole, else 0.
    """

    policy: str
    floor: float
    ratio: float
    cap: float
    outlier: float
    least: float = 0.0
    parts: float = 1.0

    def ratio_of(self, terms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how many times eager's own error is allowed: R, and more where that error is known
        from few ``terms``.

        Two norms of n normal errors of one size differ by chance. Half the logarithm of the ratio
        of their squares is normal with variance 1 / n (Fisher's z, 1924; n - 2 serves small n).
        """
        ratio: NDArray[np.float64] = np.maximum(
            self.ratio, ROOM * np.exp(SURE / np.sqrt(np.maximum(terms - 2, 0.5)))
        )
        return ratio


@cache
def tolerances() -> dict[str, Tolerance]:
    """Return the rows of the table by policy name."""
    with (Path(__file__).parent / "tolerances.csv").open(newline="") as file:
        return {
            row["policy"]: Tolerance(row["policy"], *(float(row[key] or 0) for key in COLUMNS))
            for row in csv.DictReader(file)
        }
