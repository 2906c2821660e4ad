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
from reports import changes, shifts

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from numpy.typing import NDArray

FEWEST_RUNS = 8  # below, limits are over seven spreads wide and tell nothing
WINDOW = 30  # runs; older ones are of another time
LEVEL = 0.001  # one-sided: a matrix of 100 cells calls one wolf in ten runs
LEAST_SPREAD = 0.003  # of runs of other days, in ln(seconds): no machine is more even than that
MARGINS = PROFILES["normal"]  # of the gate: a flag here is about a slowdown that the gate would call one
NEEDED = ("run", "started", "cell", "status", "reason", "latency_p50", "machine", "calibration")
COLUMNS = ("cell", "verdict", "effect", "low", "high", "runs", "reason")


def compare(base: pd.DataFrame, head: pd.DataFrame) -> pd.DataFrame:
    """How each cell of one run stands to runs of other days; a row a cell, the columns ``COLUMNS``.

    ``base`` holds the runs to compare with, ``head`` a single one; both from ``reports.load`` with the columns
    ``NEEDED``. ``effect`` is the share by which head is slower than the median of base's runs, ``low`` to ``high`` what
    a run of such a machine may seem to differ by (99.8 % prediction interval around it; none below eight runs),
    ``runs`` how many of base's are comparable: from the same machine, and since the level last changed. Where the
    calibration kernels of head's machine took another time than theirs, no cell is called slower or faster. Raises
    ``ValueError`` where head holds more than one run.
    """
    if head["run"].nunique() > 1:
        raise ValueError(f"head holds {head['run'].nunique()} runs; give one: load(store, run=...)")
    base = base[~base["run"].isin(head["run"])]
    moved = _moved(base, head)
    histories = {str(cell): history for cell, history in base.groupby("cell", sort=False)}
    judged = (_row(cell, histories.get(cell["cell"]), moved) for cell in head.to_dict("records"))
    rows = [row for row in judged if row is not None]
    newest = base[base["run"].isin(base["run"].drop_duplicates().tail(FEWEST_RUNS))]  # what went long ago is known
    gone = sorted(set(newest["cell"]) - set(head["cell"]))
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


def _moved(base: pd.DataFrame, head: pd.DataFrame) -> str:
    """The calibration kernels that took another time than such runs of base let expect: "gemm +12 %"; "" if none.

    They tell that the machine is not what it was: a cell that differs as well says nothing of the code then.
    """
    if head.empty or not {"machine", "calibration"} <= set(base) & set(head):
        return ""
    now = json.loads(str(head["calibration"].iloc[0]))
    runs = base[base["machine"] == head["machine"].iloc[0]].drop_duplicates("run").tail(WINDOW)
    before = [json.loads(str(calibration)) for calibration in runs["calibration"]]
    found = []
    for kernel, seconds in now.items():
        known = np.log([times[kernel] for times in before if kernel in times])
        if len(known) >= FEWEST_RUNS:
            middle, half = expected(known)
            if abs(np.log(seconds) - middle) > half:
                found.append(f"{kernel} {np.expm1(np.log(seconds) - middle):+.0%}")
    return ", ".join(found)


def _row(cell: Mapping[Hashable, Any], history: pd.DataFrame | None, moved: str) -> dict[str, Any] | None:
    """The row of a cell; None for one that is fine and never timed."""
    name = cell["cell"]
    if cell["status"] in (Status.SKIPPED, Status.UNCHECKED):
        return _told(name, Verdict.NOT_COMPARABLE, 0, f"{cell['status']}: {cell['reason']}")
    if cell["status"] != Status.OK:
        return _told(name, Verdict.BROKEN, 0, f"{cell['status']}: {cell['reason']}")
    if history is None:
        return _told(name, Verdict.NEW, 0, "base has no such cell")
    if pd.isna(cell["latency_p50"]) and history["latency_p50"].isna().all():
        return None
    alike = history[(history["machine"] == cell["machine"]) & history["latency_p50"].notna()]
    if alike.empty:
        facts = differing(str(history["machine"].iloc[-1]), str(cell["machine"]))
        return _told(name, Verdict.NOT_COMPARABLE, 0, f"no run of base is from such a machine: {', '.join(facts)}")
    logs = np.log(alike.sort_values("started", kind="stable")["latency_p50"].to_numpy(dtype=float))
    level, since = _level(logs)
    if pd.isna(cell["latency_p50"]):
        return _told(name, Verdict.INCONCLUSIVE, len(level), "head has no time")
    effect = float(np.log(cell["latency_p50"]) - np.median(level))
    if len(level) < FEWEST_RUNS:
        return _told(name, Verdict.INCONCLUSIVE, len(level), f"{len(level)} of {FEWEST_RUNS} runs{since}", effect)
    half = expected(level)[1]
    low, high = effect - half, effect + half
    if moved and (low > MARGINS.low or high < -MARGINS.low):
        verdict, reason = Verdict.NOT_COMPARABLE, f"the machine itself differs from these runs: {moved}"
    elif low > MARGINS.low:
        verdict, reason = Verdict.REGRESSED, f"slower than its last {len(level)} runs let expect"
    elif high < -MARGINS.low:
        verdict, reason = Verdict.IMPROVED, f"faster than its last {len(level)} runs let expect"
    elif abs(effect) + half < MARGINS.high:
        verdict, reason = Verdict.SAME, f"any change is below {MARGINS.caught:.0%}"
    else:
        verdict, reason = Verdict.INCONCLUSIVE, f"days differ by up to {np.expm1(half):.0%} here; ask the gate"
    return _told(name, verdict, len(level), reason, effect, low, high)


def _level(logs: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """(the runs of today's level, at most ``WINDOW``; since when these are, where an older level was left out)."""
    recent = logs[-changes.WINDOW :]
    found = shifts.find(recent)
    level = recent[found[-1].position :] if found else recent
    since = f" since the level changed by {np.expm1(found[-1].step):+.0%}" if found else ""
    return level[-WINDOW:], since


def _told(cell: str, verdict: Verdict, runs: int, reason: str, *logs: float) -> dict[str, Any]:
    """A row; ``logs`` are the effect and, where known, the ends of its interval, in ln(seconds)."""
    shares = [float(np.expm1(value)) for value in logs]
    shares += [float("nan")] * (3 - len(shares))
    return dict(zip(COLUMNS, (cell, str(verdict), *shares, runs, reason), strict=True))


def differing(before: str, after: str) -> list[str]:
    """The facts in which two machines (as in the frame's column ``machine``) differ: "threads 2 -> 4"."""
    old, new = json.loads(before), json.loads(after)
    names: Sequence[str] = sorted({*old, *new})
    return [f"{name} {old.get(name)} -> {new.get(name)}" for name in names if old.get(name) != new.get(name)]
