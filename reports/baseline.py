"""Runs of other days as a baseline: is a cell slower than its own history on such a machine lets expect? Advice only.

Days differ by more than launches do, so this flags and never convicts: the gate between the two commits does that.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from bench.gate.margins import PROFILES
from bench.record import Status, Verdict

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

FEWEST_RUNS = 8  # below, limits are over seven spreads wide and tell nothing
WINDOW = 30  # runs; older ones are of another time
LEVEL = 0.001  # one-sided: a matrix of 100 cells calls one wolf in ten runs
LEAST_SPREAD = 0.003  # of runs of other days, in ln(seconds): no machine is more even than that
MARGINS = PROFILES["normal"]  # of the gate: a flag here is about a slowdown that the gate would call one
COLUMNS = ("cell", "verdict", "effect", "low", "high", "runs", "reason")


def compare(base: pd.DataFrame, head: pd.DataFrame) -> pd.DataFrame:
    """How each cell of one run stands to runs of other days; a row a cell, the columns ``COLUMNS``.

    ``base`` holds the runs to compare with, ``head`` a single one; both from ``reports.load``. ``effect`` is the share
    by which head is slower than the median of base's runs, ``low`` to ``high`` what a run of such a machine may seem to
    differ by (99.8 % prediction interval around it), ``runs`` how many of base's are comparable. Raises ``ValueError``
    where head holds more than one run.
    """
    if head["run"].nunique() > 1:
        raise ValueError(f"head holds {head['run'].nunique()} runs; give one: load(store, run=...)")
    base = base[~base["run"].isin(head["run"])]
    rows = [_row(cell, base[base["cell"] == cell["cell"]]) for cell in head.to_dict("records")]
    gone = sorted(set(base["cell"]) - set(head["cell"]))
    rows += [_told(cell, Verdict.MISSING, 0, "in base and not in head") for cell in gone] if len(head) else []
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.astype(dict.fromkeys(("cell", "verdict", "reason"), "string[python]") | {"runs": "Int64"}
                        | dict.fromkeys(("effect", "low", "high"), "Float64"))  # fmt: skip


def expected(history: ArrayLike) -> tuple[float, float]:
    """(middle, half width) of what the next run may be, from earlier ones; all in ln(seconds).

    The prediction interval of Student's t around the median, its spread at least ``LEAST_SPREAD``.
    """
    values = np.asarray(history, float)
    n = len(values)
    spread = max(float(values.std(ddof=1)), LEAST_SPREAD)
    return float(np.median(values)), float(stats.t.isf(LEVEL, n - 1) * spread * np.sqrt(1 + 1 / n))


def _row(cell: Mapping[Hashable, Any], history: pd.DataFrame) -> dict[str, Any]:
    name = cell["cell"]
    if cell["status"] in (Status.SKIPPED, Status.UNCHECKED):
        return _told(name, Verdict.NOT_COMPARABLE, 0, f"{cell['status']}: {cell['reason']}")
    if cell["status"] != Status.OK:
        return _told(name, Verdict.BROKEN, 0, f"{cell['status']}: {cell['reason']}")
    if history.empty:
        return _told(name, Verdict.NEW, 0, "base has no such cell")
    alike = history[(history["machine"] == cell["machine"]) & history["latency_p50"].notna()]
    if alike.empty:
        facts = differing(str(history["machine"].iloc[-1]), str(cell["machine"]))
        return _told(name, Verdict.NOT_COMPARABLE, 0, f"no run of base is from such a machine: {', '.join(facts)}")
    seconds = alike.sort_values("started")["latency_p50"].astype(float).tail(WINDOW)
    if len(seconds) < FEWEST_RUNS or pd.isna(cell["latency_p50"]):
        what = f"{len(seconds)} of {FEWEST_RUNS} runs" if len(seconds) < FEWEST_RUNS else "head has no time"
        return _told(name, Verdict.INCONCLUSIVE, len(seconds), what)
    middle, half = expected(np.log(seconds))
    effect = float(np.log(cell["latency_p50"])) - middle
    low, high = effect - half, effect + half
    if low > MARGINS.low:
        verdict, reason = Verdict.REGRESSED, f"slower than its last {len(seconds)} runs let expect"
    elif high < -MARGINS.low:
        verdict, reason = Verdict.IMPROVED, f"faster than its last {len(seconds)} runs let expect"
    elif abs(effect) + half < MARGINS.high:
        verdict, reason = Verdict.SAME, f"any change is below {MARGINS.caught:.0%}"
    else:
        verdict, reason = Verdict.INCONCLUSIVE, f"days differ by up to {np.expm1(half):.0%} here; ask the gate"
    shares = (float(np.expm1(value)) for value in (effect, low, high))
    return dict(zip(COLUMNS, (name, str(verdict), *shares, len(seconds), reason), strict=True))


def _told(cell: str, verdict: Verdict, runs: int, reason: str) -> dict[str, Any]:
    return dict(zip(COLUMNS, (cell, str(verdict), None, None, None, runs, reason), strict=True))


def differing(before: str, after: str) -> list[str]:
    """The facts in which two machines (as in the frame's column ``machine``) differ: "threads 2 -> 4"."""
    old, new = json.loads(before), json.loads(after)
    names: Sequence[str] = sorted({*old, *new})
    return [f"{name} {old.get(name)} -> {new.get(name)}" for name in names if old.get(name) != new.get(name)]
