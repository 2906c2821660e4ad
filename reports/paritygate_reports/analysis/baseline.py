"""Runs of other days as a baseline: is a cell slower than its own history on such a machine lets
expect? Advice only.

Days differ by more than launches do, so this flags and never convicts: the gate between the two
commits does that.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from paritygate.core.reasons import first_line
from paritygate.core.record import Status, Verdict
from paritygate.gate.request import PROFILES
from paritygate_reports.analysis import change_point_detection, change_points
from paritygate_reports.analysis.machines import differing

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from numpy.typing import NDArray

FEWEST_RUNS = 8  # below, limits are over seven spreads wide and tell nothing
WINDOW = 30  # runs; older ones are of another time
LEVEL = 0.001  # one-sided: a matrix of 100 cells calls one wolf in ten runs
LEAST_SPREAD = 0.003  # of runs of other days, in ln(seconds): no machine is more even than that
BY_MACHINE = 3.0  # a cell that differs by more than so many times what the kernels do is not explained by them
# of the gate: a flag here is about a slowdown that the gate would call one
MARGINS = PROFILES["normal"]
NEEDED = ("run", "started", "cell", "status", "reason", "latency_p50", "machine", "calibration")
COLUMNS = ("cell", "verdict", "effect", "low", "high", "runs", "reason")


def compare(base: pd.DataFrame, head: pd.DataFrame) -> pd.DataFrame:
    """How each cell of one run stands to runs of other days; a row a cell, the columns ``COLUMNS``.

    ``base`` holds the runs to compare with, ``head`` a single one; both from
    ``paritygate_reports.load`` with the columns
    ``NEEDED``. ``effect`` is the share by which head is slower than the median of base's runs,
    ``low`` to ``high`` what a run of such a machine may seem to differ by (99.8 % prediction
    interval around it; none below eight runs),
    ``runs`` how many of base's are comparable: from the same machine, and since the level last
    changed. Where the calibration kernels of head's machine became slower (faster), no cell is
    called slower (faster) that did so by less than thrice as much. The interval is nominal: it
    takes runs for independent. Raises ``ValueError`` where head holds more than one run,
    ``KeyError`` for a missing column.
    """
    if head["run"].nunique() > 1:
        raise ValueError(f"head holds {head['run'].nunique()} runs; give one: load(store, run=...)")
    for name in NEEDED:
        if name not in base or name not in head:
            raise KeyError(
                f"a comparison needs the column {name!r}: load(store, columns={list(NEEDED)})"
            )
    base = base[~base["run"].isin(head["run"])]
    moved = _moved(base, head)
    histories = {str(cell): history for cell, history in base.groupby("cell", sort=False)}
    judged = (_row(cell, histories.get(cell["cell"]), moved) for cell in head.to_dict("records"))
    rows = [row for row in judged if row is not None]
    alike = base[base["machine"].isin(head["machine"])]  # another one may have a GPU
    # what went long ago is known
    newest = alike[alike["run"].isin(alike["run"].drop_duplicates().tail(FEWEST_RUNS))]
    gone = sorted(set(newest["cell"]) - set(head["cell"]))
    rows += (
        [_told(cell, Verdict.MISSING, 0, "in base and not in head") for cell in gone]
        if len(head)
        else []
    )
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.astype(
        dict.fromkeys(("cell", "verdict", "reason"), "string[python]")
        | {"runs": "Int64"}
        | dict.fromkeys(("effect", "low", "high"), "Float64")
    )


def expected(history: ArrayLike) -> tuple[float, float]:
    """(middle, half width) of what the next run may be, from earlier ones; all in ln(seconds).

    The prediction interval of Student's t around the median, its spread at least ``LEAST_SPREAD``.
    """
    values = np.asarray(history, float)
    n = len(values)
    spread = max(float(values.std(ddof=1)), LEAST_SPREAD)
    return float(np.median(values)), float(stats.t.isf(LEVEL, n - 1) * spread * np.sqrt(1 + 1 / n))


def _moved(base: pd.DataFrame, head: pd.DataFrame) -> dict[str, float]:
    """Calibration kernel -> ln(now / then), of those that took another time than such runs of base
    let expect.

    They tell that the machine is not what it was: a cell that differs likewise says nothing of the
    code then.
    """
    if head.empty:
        return {}
    now = json.loads(str(head["calibration"].iloc[0]))
    runs = base[base["machine"] == head["machine"].iloc[0]].drop_duplicates("run").tail(WINDOW)
    before = [json.loads(str(calibration)) for calibration in runs["calibration"]]
    # whose kernels they are
    before = [times for times in before if times.get("numpy") == now.get("numpy")]
    found = {}
    for kernel in sorted(set(now) - {"numpy"}):
        known = np.log([times[kernel] for times in before if kernel in times])
        if len(known) >= FEWEST_RUNS:
            middle, half = expected(known)
            if abs(np.log(now[kernel]) - middle) > half:
                found[kernel] = float(np.log(now[kernel]) - middle)
    return found


def _row(
    cell: Mapping[Hashable, Any], history: pd.DataFrame | None, moved: Mapping[str, float]
) -> dict[str, Any] | None:
    """The row of a cell; None for one that is fine and never timed."""
    name = cell["cell"]
    if cell["status"] in (Status.SKIPPED, Status.UNCHECKED):
        return _told(
            name, Verdict.NOT_COMPARABLE, 0, f"{cell['status']}: {first_line(str(cell['reason']))}"
        )
    if cell["status"] != Status.OK:
        return _told(
            name, Verdict.BROKEN, 0, f"{cell['status']}: {first_line(str(cell['reason']))}"
        )
    if history is None:
        return _told(name, Verdict.NEW, 0, "base has no such cell")
    known = change_points.timed(history)
    seconds = cell["latency_p50"]
    untimed = pd.isna(seconds) or not 0 < seconds < np.inf
    if untimed and known.empty:
        return None
    alike = known[known["machine"] == cell["machine"]]
    if alike.empty:
        facts = differing(str(history["machine"].iloc[-1]), str(cell["machine"]))
        return _told(
            name,
            Verdict.NOT_COMPARABLE,
            0,
            f"no run of base is from such a machine: {', '.join(facts)}",
        )
    logs = np.log(alike.sort_values("started", kind="stable")["latency_p50"].to_numpy(dtype=float))
    level, since = _level(logs)
    if untimed:
        return _told(name, Verdict.INCONCLUSIVE, len(level), "head has no time")
    effect = float(np.log(seconds) - np.median(level))
    if len(level) < FEWEST_RUNS:
        return _told(
            name,
            Verdict.INCONCLUSIVE,
            len(level),
            f"{len(level)} of {FEWEST_RUNS} runs{since}",
            effect,
        )
    half = expected(level)[1]
    low, high = effect - half, effect + half
    likewise = {kernel: by for kernel, by in moved.items() if by * effect > 0}
    explained = abs(effect) < BY_MACHINE * max(map(abs, likewise.values()), default=0.0)
    if explained and (low > MARGINS.low or high < -MARGINS.low):
        kernels = ", ".join(f"{kernel} {np.expm1(by):+.0%}" for kernel, by in likewise.items())
        verdict, reason = (
            Verdict.NOT_COMPARABLE,
            f"the machine itself differs from these runs: {kernels}",
        )
    elif low > MARGINS.low:
        verdict, reason = Verdict.REGRESSED, f"slower than its last {len(level)} runs let expect"
    elif high < -MARGINS.low:
        verdict, reason = Verdict.IMPROVED, f"faster than its last {len(level)} runs let expect"
    elif abs(effect) + half < MARGINS.high:
        verdict, reason = Verdict.SAME, f"any change is below {MARGINS.caught:.0%}"
    else:
        verdict, reason = (
            Verdict.INCONCLUSIVE,
            f"days differ by up to {np.expm1(half):.0%} here; ask the gate",
        )
    return _told(name, verdict, len(level), reason, effect, low, high)


def _level(logs: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """(the runs of today's level, at most ``WINDOW``; since when these are, where an older level
    was left out).
    """
    recent = logs[-change_points.WINDOW :]
    found = [
        shift
        for shift in change_point_detection.find(recent)
        if abs(np.expm1(shift.step)) >= change_points.SMALLEST
    ]
    level = recent[found[-1].position :] if found else recent
    since = f" since the level changed by {np.expm1(found[-1].step):+.0%}" if found else ""
    return level[-WINDOW:], since


def _told(cell: str, verdict: Verdict, runs: int, reason: str, *logs: float) -> dict[str, Any]:
    """A row; ``logs`` are the effect and, where known, the ends of its interval, in ln(seconds)."""
    shares = [float(np.expm1(value)) for value in logs]
    shares += [float("nan")] * (3 - len(shares))
    return dict(zip(COLUMNS, (cell, str(verdict), *shares, runs, reason), strict=True))
