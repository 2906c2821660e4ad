"""Earlier runs as a baseline: is a cell slower than its own history on the same kind of machine
predicts? Advice only.

Runs of different days differ by more than launches do. So this only flags a cell; the gate between
the two commits decides.
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

FEWEST_RUNS = 8  # with fewer, limits are over seven standard deviations wide
WINDOW = 30  # runs; older ones are left out
LEVEL = 0.001  # one-sided: a matrix of 100 cells gives one false alarm in ten runs
LEAST_SPREAD = 0.003  # in ln(seconds): days differ at least so much on any machine
# A cell that differs by more than so many times the kernels' difference is not explained by them.
BY_MACHINE = 3.0
# those of the gate: a slowdown that is flagged here is one for the gate, too
MARGINS = PROFILES["normal"]
NEEDED = ("run", "started", "cell", "status", "reason", "latency_p50", "machine", "calibration")
COLUMNS = ("cell", "verdict", "effect", "low", "high", "runs", "reason")


def compare(base: pd.DataFrame, head: pd.DataFrame) -> pd.DataFrame:
    """Compare each cell of one run with earlier runs. Return one row for each cell, with the
    columns ``COLUMNS``.

    ``base`` holds the runs to compare with, ``head`` a single one. Both are from
    ``paritygate_reports.load`` with the columns ``NEEDED``. The columns of the result:

    - ``effect``: the share by which head is slower than the median of base's runs.
    - ``low``, ``high``: the range in which a run without a change may lie (99.8 % prediction
      interval around the effect). Empty with fewer than eight runs. The interval is nominal: it
      assumes independent runs.
    - ``runs``: the number of base's runs that are comparable: from the same machine, and after the
      last level change.

    Where the calibration kernels of head's machine became slower (faster), a cell is called slower
    (faster) only if it differs by at least three times as much. Raises ``ValueError`` if head holds
    more than one run, ``KeyError`` for a missing column.
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
    alike = base[base["machine"].isin(head["machine"])]  # another machine may have a GPU
    # only recent runs: cells that were removed earlier are no news
    newest = alike[alike["run"].isin(alike["run"].drop_duplicates().tail(FEWEST_RUNS))]
    gone = sorted(set(newest["cell"]) - set(head["cell"]))
    rows += (
        [_result(cell, Verdict.MISSING, 0, "in base and not in head") for cell in gone]
        if len(head)
        else []
    )
    result = pd.DataFrame(rows, columns=list(COLUMNS))
    return result.astype(
        dict.fromkeys(("cell", "verdict", "reason"), "string[python]")
        | {"runs": "Int64"}
        | dict.fromkeys(("effect", "low", "high"), "Float64")
    )


def expected(history: ArrayLike) -> tuple[float, float]:
    """Return (middle, half width) of the range of the next run, from earlier ones; all in
    ln(seconds).

    It is the prediction interval of Student's t around the median, with a spread of at least
    ``LEAST_SPREAD``.
    """
    values = np.asarray(history, float)
    n = len(values)
    spread = max(float(values.std(ddof=1)), LEAST_SPREAD)
    return float(np.median(values)), float(stats.t.isf(LEVEL, n - 1) * spread * np.sqrt(1 + 1 / n))


def _moved(base: pd.DataFrame, head: pd.DataFrame) -> dict[str, float]:
    """Return calibration kernel -> ln(now / then), for kernels with a time outside the range that
    base's runs predict.

    They show that the machine has changed. A cell that changed in the same direction may have done
    so for that reason.
    """
    if head.empty:
        return {}
    now = json.loads(str(head["calibration"].iloc[0]))
    runs = base[base["machine"] == head["machine"].iloc[0]].drop_duplicates("run").tail(WINDOW)
    before = [json.loads(str(calibration)) for calibration in runs["calibration"]]
    # times of another numpy are not comparable
    before = [times for times in before if times.get("numpy") == now.get("numpy")]
    changed = {}
    for kernel in sorted(set(now) - {"numpy"}):
        known = np.log([times[kernel] for times in before if kernel in times])
        if len(known) >= FEWEST_RUNS:
            middle, half = expected(known)
            if abs(np.log(now[kernel]) - middle) > half:
                changed[kernel] = float(np.log(now[kernel]) - middle)
    return changed


def _row(
    cell: Mapping[Hashable, Any], history: pd.DataFrame | None, moved: Mapping[str, float]
) -> dict[str, Any] | None:
    """Return the row of a cell; None for a cell that passed and was never timed."""
    name = cell["cell"]
    if cell["status"] in (Status.SKIPPED, Status.UNCHECKED):
        return _result(
            name, Verdict.NOT_COMPARABLE, 0, f"{cell['status']}: {first_line(str(cell['reason']))}"
        )
    if cell["status"] != Status.OK:
        return _result(
            name, Verdict.BROKEN, 0, f"{cell['status']}: {first_line(str(cell['reason']))}"
        )
    if history is None:
        return _result(name, Verdict.NEW, 0, "base has no such cell")
    known = change_points.timed(history)
    seconds = cell["latency_p50"]
    untimed = pd.isna(seconds) or not 0 < seconds < np.inf
    if untimed and known.empty:
        return None
    alike = known[known["machine"] == cell["machine"]]
    if alike.empty:
        facts = differing(str(history["machine"].iloc[-1]), str(cell["machine"]))
        return _result(
            name,
            Verdict.NOT_COMPARABLE,
            0,
            f"no run of base is from such a machine: {', '.join(facts)}",
        )
    logs = np.log(alike.sort_values("started", kind="stable")["latency_p50"].to_numpy(dtype=float))
    level, since = _level(logs)
    if untimed:
        return _result(name, Verdict.INCONCLUSIVE, len(level), "head has no time")
    effect = float(np.log(seconds) - np.median(level))
    if len(level) < FEWEST_RUNS:
        return _result(
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
    return _result(name, verdict, len(level), reason, effect, low, high)


def _level(logs: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """Return the runs of the present level, at most ``WINDOW``, and a text about the last level
    change, "" without one.
    """
    recent = logs[-change_points.WINDOW :]
    shifts = [
        shift
        for shift in change_point_detection.find(recent)
        if abs(np.expm1(shift.step)) >= change_points.SMALLEST
    ]
    level = recent[shifts[-1].position :] if shifts else recent
    since = f" since the level changed by {np.expm1(shifts[-1].step):+.0%}" if shifts else ""
    return level[-WINDOW:], since


def _result(cell: str, verdict: Verdict, runs: int, reason: str, *logs: float) -> dict[str, Any]:
    """Return a row. ``logs`` are the effect and, where known, the ends of its interval, in
    ln(seconds).
    """
    shares = [float(np.expm1(value)) for value in logs]
    shares += [float("nan")] * (3 - len(shares))
    return dict(zip(COLUMNS, (cell, str(verdict), *shares, runs, reason), strict=True))
