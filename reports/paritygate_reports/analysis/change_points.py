"""Change points: since which commit has a cell been slower or faster? Each a proposal that the gate
confirms.
"""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from paritygate_reports.analysis import change_point_detection
from paritygate_reports.analysis.machines import told_apart

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

WINDOW = 200  # runs of a cell, the newest ones; older shifts were told when they were new
SMALLEST = 0.01  # share; a smaller shift is tolerated by the gate, which would not confirm it
HEXADECIMAL = re.compile("[0-9a-f]{7,64}")
SERIES = ["cell", "machine"]
NEEDED = ("run", "started", "commit", "latency_p50", *SERIES)
DTYPES = {
    "cell": "string[python]",
    "effect": "Float64",
    "low": "Float64",
    "high": "Float64",
    "run": "string[python]",
    "started": "datetime64[us, UTC]",
    "commit": "string[python]",
    "before": "string[python]",
    "latest": "string[python]",
    "commits": "Int64",
    "runs_before": "Int64",
    "runs_after": "Int64",
    "p": "Float64",
    "confirm": "string[python]",
    "machine": "string[python]",
}
"""Column -> dtype of what ``changepoints`` gives."""


def changepoints(frame: pd.DataFrame) -> pd.DataFrame:
    """The level shifts in the last 200 runs of every cell on every machine, the newest first;
    columns as in ``DTYPES``.

    ``frame`` is from ``paritygate_reports.load`` with at least the columns ``NEEDED``. ``effect``
    is the share by which the cell became slower (negative: faster), ``low`` to ``high`` its 95 %
    interval; ``run``, ``started`` and
    ``commit`` are of the first run of the new level. ``before`` to ``latest`` are the measured
    commits between which the cause lies with 95 %, ``commits`` how many of these that leaves,
    unknown where a run has none; ``confirm`` is the command that measures the two side by side.
    ``p`` is the share of series of such noise that show as much. Both 95 % are nominal: what was
    chosen looks surer than it is. Raises ``KeyError`` for a missing column.
    """
    if strangers := [name for name in NEEDED if name not in frame]:
        raise KeyError(
            f"change points need the column {strangers[0]!r}: load(store, columns={list(NEEDED)})"
        )
    return of_histories(histories(frame))


def of_histories(series: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The same of series that ``histories`` gave."""
    found = pd.DataFrame(
        [row for one in series for row in _rows(one)], columns=list(DTYPES)
    ).astype(DTYPES)
    return found.sort_values(["started", "cell"], ascending=[False, True], ignore_index=True)


def histories(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The runs with a time of each cell on each machine, the oldest first, at most ``WINDOW`` of
    them.
    """
    measured = timed(frame)
    if not measured["started"].is_monotonic_increasing:
        measured = measured.sort_values("started", kind="stable")
    recent = measured.groupby(SERIES, sort=False, observed=True, dropna=False).tail(WINDOW)
    for _, series in recent.groupby(SERIES, sort=False, observed=True, dropna=False):
        yield series


def titles(series: Sequence[pd.DataFrame]) -> list[str]:
    """The cell of each, and the machine by the facts that tell it from the others of that cell."""
    shown = [(str(one["cell"].iloc[0]), str(one["machine"].iloc[0])) for one in series]
    machines: dict[str, list[str]] = {}
    for cell, machine in shown:
        machines.setdefault(cell, []).append(machine)
    names = {
        cell: dict(zip(those, told_apart(those), strict=True)) for cell, those in machines.items()
    }
    return [
        f"{cell} on {names[cell][machine]}" if names[cell][machine] else cell
        for cell, machine in shown
    ]


def of_series(changes: pd.DataFrame, series: pd.DataFrame) -> pd.DataFrame:
    """Those of the changes that are of this one of ``histories``."""
    first = series.iloc[0]
    found: pd.DataFrame = changes[
        (changes["cell"] == first["cell"]) & (changes["machine"] == first["machine"])
    ]
    return found


def levels(series: pd.DataFrame, changes: pd.DataFrame) -> list[tuple[int, int, float]]:
    """The levels of a series between its changes: (first run, run after the last, median p50 in
    seconds).
    """
    at = {run: place for place, run in enumerate(series["run"])}
    edges = [0, *sorted(at[run] for run in of_series(changes, series)["run"]), len(series)]
    return [
        (start, end, float(series["latency_p50"].iloc[start:end].median()))
        for start, end in pairwise(edges)
    ]


def timed(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with a time that has a logarithm."""
    return frame[
        frame["latency_p50"].between(0, np.inf, inclusive="neither").fillna(False).astype(bool)
    ]


def _rows(series: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """A row a shift of one series."""
    found = change_point_detection.find(np.log(series["latency_p50"].to_numpy(dtype=float)))
    if not found:
        return
    commits = [None if pd.isna(commit) else str(commit) for commit in series["commit"]]
    for number, shift in enumerate(found):
        if abs(np.expm1(shift.step)) < SMALLEST:
            continue
        first = series.iloc[shift.position]
        start = found[number - 1].position if number else 0
        end = found[number + 1].position if number + 1 < len(found) else len(series)
        before, latest = commits[shift.first - 1], commits[shift.last]
        between = commits[shift.first - 1 : shift.last + 1]
        shares = (float(np.expm1(value)) for value in (shift.step, shift.low, shift.high))
        yield {
            **dict(zip(("effect", "low", "high"), shares, strict=True)),
            **{name: first[name] for name in ("cell", "run", "started", "commit", "machine")},
            "before": before,
            "latest": latest,
            "commits": None if None in between else len({*between} - {before}),
            "runs_before": shift.position - start,
            "runs_after": end - shift.position,
            "p": shift.p,
            "confirm": confirmation(str(first["cell"]), before, latest),
        }


def confirmation(cell: str, before: str | None, latest: str | None) -> str:
    """The command that measures the cell at two commits side by side, "" where there are no two.

    Commits come from stores and files of others, and the command is made to be pasted: nothing but
    hexadecimal digits.
    """
    if (
        not all(commit and HEXADECIMAL.fullmatch(commit) for commit in (before, latest))
        or before == latest
    ):
        return ""
    assert before is not None
    assert latest is not None
    return f"git switch --detach {latest[:12]} && pytest bench -k {shlex.quote(cell)} --bench-against {before[:12]}"
