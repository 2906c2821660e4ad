"""Trends drawn for a terminal (plotext) or a PNG or SVG file (matplotlib): one plot for each cell,
with its levels.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from paritygate.core.reasons import counted
from paritygate_reports.analysis.change_points import levels, titles
from paritygate_reports.files.writers import replace_whole
from paritygate_reports.view import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

SUFFIXES = (".png", ".svg")
HEIGHT = 16  # lines of a plot in the terminal
POINTS, LEVEL = "#0072B2", "#D55E00"  # as in the charts of the page


def terminal(series: Sequence[pd.DataFrame], changes: pd.DataFrame) -> str:
    """Return the plots as text, as wide as the terminal. In colours if it shows them and
    ``NO_COLOR`` is not set.
    """
    import plotext

    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    drawn = []
    for one, title in zip(series, _titles(series), strict=True):
        times, unit, levels = _prepared(one, changes)
        plotext.clear_figure()
        plotext.plotsize(min(shutil.get_terminal_size().columns, 120), HEIGHT)
        plotext.theme("clear")
        plotext.title(title)
        runs = list(range(len(times)))
        plotext.scatter(runs, times, marker="dot", color="blue" if coloured else None)
        for start, end, middle in levels:
            plotext.plot(
                [start, end - 1],
                [middle, middle],
                marker="sd",
                color="orange" if coloured else None,
            )
        ticks = sorted({0, len(times) // 2, len(times) - 1})
        plotext.xticks(ticks, [f"{one['started'].iloc[tick]:%Y-%m-%d}" for tick in ticks])
        plotext.ylabel(unit)
        built = plotext.build()
        drawn.append(built if coloured else plotext.uncolorize(built))
    return "\n".join(drawn)


def write(path: Path, series: Sequence[pd.DataFrame], changes: pd.DataFrame) -> None:
    """Write the plots, one below the other, into a file in the format of its suffix. Raises
    ``OSError``.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(series), figsize=(10, 3 * len(series)), squeeze=False, layout="constrained"
    )
    for axis, one, title in zip(axes[:, 0], series, _titles(series), strict=True):
        times, unit, levels = _prepared(one, changes)
        days = one["started"].to_numpy()
        axis.plot(days, times, "o", markersize=3, color=POINTS)
        for start, end, middle in levels:
            axis.plot([days[start], days[end - 1]], [middle, middle], color=LEVEL, linewidth=2)
        axis.set_title(title.replace("$", r"\$"), loc="left", fontsize="medium")
        axis.set_ylabel(f"p50, {unit}")
        axis.grid(alpha=0.3)
    try:
        replace_whole(
            path,
            lambda unfinished: figure.savefig(unfinished, format=path.suffix[1:].lower(), dpi=150),
        )
    finally:
        plt.close(figure)


def _titles(series: Sequence[pd.DataFrame]) -> list[str]:
    names = zip(titles(series), series, strict=True)
    return [text.printable(f"{name}  ({counted(len(one), 'run')})") for name, one in names]


def _prepared(
    one: pd.DataFrame, changes: pd.DataFrame
) -> tuple[list[float], str, list[tuple[int, int, float]]]:
    """Return (times, their unit, levels as (first run, run after the last, median))."""
    unit = text.second_unit(one["latency_p50"])
    scale = dict(text.SECOND_UNITS)[unit]
    times = [float(value) / scale for value in one["latency_p50"]]
    return (
        times,
        unit,
        [(start, end, middle / scale) for start, end, middle in levels(one, changes)],
    )
