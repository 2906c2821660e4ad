"""Change points: the commit since which a cell is slower or faster. Each is a proposal that the
gate confirms.
"""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from paritygate_reports.analysis import change_point_detection
from paritygate_reports.analysis.machines import distinguishing_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

WINDOW = 200  # the newest runs of a cell; older shifts were reported when they were new
SMALLEST = 0.01  # share; the gate tolerates a smaller shift, and would not confirm it
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
"""Column -> dtype of the result of ``changepoints``."""


def changepoints(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the level shifts in the last 200 runs of every cell on every machine, the newest
    first.

    ``frame`` is from ``paritygate_reports.load`` with at least the columns ``NEEDED``. The result
    has the columns of ``DTYPES``:

    - ``effect``: the share by which the cell became slower (negative: faster). ``low`` to ``high``
      is its 95 % interval.
    - ``run``, ``started``, ``commit``: those of the first run of the new level.
    - ``before``, ``latest``: measured commits. The cause lies after the first and up to the second,
      with 95 %.
    - ``commits``: the number of measured commits in that range; unknown if a run has no commit.
    - ``confirm``: the command that measures the two commits side by side.
    - ``p``: the share of series of such noise that show as large a shift.

    Both 95 % are nominal: selecting shifts makes them look more certain than they are. Raises
    ``KeyError`` for a missing column.
    """
    if missing := [name for name in NEEDED if name not in frame]:
        raise KeyError(
            f"change points need the column {missing[0]!r}: load(store, columns={list(NEEDED)})"
        )
    return changepoints_in(histories(frame))


def changepoints_in(series: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the level shifts, as ``changepoints``, of series from ``histories``."""
    shifts = pd.DataFrame(
        [row for one in series for row in _rows(one)], columns=list(DTYPES)
    ).astype(DTYPES)
    return shifts.sort_values(["started", "cell"], ascending=[False, True], ignore_index=True)


def histories(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the timed runs of each cell on each machine, the oldest first, at most ``WINDOW`` of
    them.
    """
    measured = timed(frame)
    if not measured["started"].is_monotonic_increasing:
        measured = measured.sort_values("started", kind="stable")
    recent = measured.groupby(SERIES, sort=False, observed=True, dropna=False).tail(WINDOW)
    for _, series in recent.groupby(SERIES, sort=False, observed=True, dropna=False):
        yield series


def titles(series: Sequence[pd.DataFrame]) -> list[str]:
    """Return a title for each series: the cell, and the facts that distinguish its machine from
    others with that cell.
    """
    shown = [(str(one["cell"].iloc[0]), str(one["machine"].iloc[0])) for one in series]
    machines: dict[str, list[str]] = {}
    for cell, machine in shown:
        machines.setdefault(cell, []).append(machine)
    names = {
        cell: dict(zip(those, distinguishing_facts(those), strict=True))
        for cell, those in machines.items()
    }
    return [
        f"{cell} on {names[cell][machine]}" if names[cell][machine] else cell
        for cell, machine in shown
    ]


def changes_in(changes: pd.DataFrame, series: pd.DataFrame) -> pd.DataFrame:
    """Return the changes that belong to this series of ``histories``."""
    first = series.iloc[0]
    own: pd.DataFrame = changes[
        (changes["cell"] == first["cell"]) & (changes["machine"] == first["machine"])
    ]
    return own


def levels(series: pd.DataFrame, changes: pd.DataFrame) -> list[tuple[int, int, float]]:
    """Return the levels of a series between its changes: (first run, run after the last, median p50
    in seconds).
    """
    at = {run: place for place, run in enumerate(series["run"])}
    edges = [0, *sorted(at[run] for run in changes_in(changes, series)["run"]), len(series)]
    return [
        (start, end, float(series["latency_p50"].iloc[start:end].median()))
        for start, end in pairwise(edges)
    ]


def timed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with a positive, finite time."""
    return frame[
        frame["latency_p50"].between(0, np.inf, inclusive="neither").fillna(False).astype(bool)
    ]


def _rows(series: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield a row for each shift of one series."""
    shifts = change_point_detection.find(np.log(series["latency_p50"].to_numpy(dtype=float)))
    if not shifts:
        return
    commits = [None if pd.isna(commit) else str(commit) for commit in series["commit"]]
    for number, shift in enumerate(shifts):
        if abs(np.expm1(shift.step)) < SMALLEST:
            continue
        first = series.iloc[shift.position]
        start = shifts[number - 1].position if number else 0
        end = shifts[number + 1].position if number + 1 < len(shifts) else len(series)
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
    """Return the command that measures the cell at two commits side by side, "" if there are no
    two.

    Commits come from stores and files of others, and users paste the command: so only hexadecimal
    digits are accepted.
    """
    if (
        not all(commit and HEXADECIMAL.fullmatch(commit) for commit in (before, latest))
        or before == latest
    ):
        return ""
    assert before is not None
    assert latest is not None
    return f"git switch --detach {latest[:12]} && pytest bench -k {shlex.quote(cell)} --bench-against {before[:12]}"
