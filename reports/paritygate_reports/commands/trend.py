"""Draw how long cells took from run to run, in the terminal or as PNG or SVG, and list their change
points.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from paritygate.core.reasons import counted
from paritygate_reports.commands import opened
from paritygate_reports.view import text

EXAMPLES = (
    "paritygate trend bert_mini-b8_s64-cpu-eager-fp32",
    'paritygate trend "bert_*" --branch main -o trend.svg',
)
MOST = 12  # cells in one drawing


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("cell", metavar="CELL", help="a cell's id, or a pattern with * and ?")
    parser.add_argument(
        "--branch", help="only runs of this branch (default: the one with the most runs)"
    )
    parser.add_argument(
        "-o", dest="output", type=Path, metavar="FILE", help="a .png or .svg file instead"
    )


def run(parsed: argparse.Namespace) -> int:
    """Draw a plot for each cell and machine, and print one change point in each line below."""
    from fnmatch import fnmatchcase

    from paritygate_reports.analysis.change_points import changepoints_in, histories
    from paritygate_reports.files.jsontext import FileError
    from paritygate_reports.frame import load
    from paritygate_reports.view import plots
    from paritygate_reports.view.page import HISTORY, usual_branch

    if parsed.output and parsed.output.suffix.lower() not in plots.SUFFIXES:
        raise FileError(f"{parsed.output} must end in {' or '.join(plots.SUFFIXES)}")
    store = opened(parsed)
    # a star may match dashes as well, so only a plain name can be selected in SQL
    case = parsed.cell.partition("-")[0]
    plain = not set("*?[") & set(case)
    frame = load(
        store.url,
        case=case if plain else "*",
        branch=parsed.branch or usual_branch(store),
        columns=HISTORY,
    )
    series = [one for one in histories(frame) if fnmatchcase(str(one["cell"].iloc[0]), parsed.cell)]
    if not series:
        branch = f" on branch {parsed.branch}" if parsed.branch else ""
        raise FileError(
            f"{store.name} has no time of a cell {parsed.cell!r}{branch}; `paritygate show` lists them"
        )
    if (cells := len({one["cell"].iloc[0] for one in series})) > MOST:
        raise FileError(
            f"{parsed.cell!r} matches {cells} cells, a drawing takes {MOST}; use a longer part of the id"
        )
    series = series[-MOST:]  # one cell on many machines: the machines of the newest runs
    changes = changepoints_in(series)
    if parsed.output:
        plots.write(parsed.output, series, changes)
        print(parsed.output)
    else:
        print(plots.terminal(series, changes))
    for change in changes.to_dict("records"):
        print(
            text.printable(_described(change))
            + (f"\n  {change['confirm']}" if change["confirm"] else "")
        )
    return 0


def _described(change: dict[Any, Any]) -> str:
    """Return a line about one change point: its height, its start, and the number of commits in
    between.
    """
    by = f"{abs(change['effect']):.1%} {'slower' if change['effect'] > 0 else 'faster'}"
    interval = f"({change['low']:+.1%} to {change['high']:+.1%})"
    if not isinstance(change["commits"], int):
        within = "commits not known"
    else:
        count = change["commits"]
        within = (
            f"within {counted(count, 'measured commit')}"
            if count
            else "no commit between: not the code"
        )
    return f"{change['cell']}: {by} {interval} since {change['started']:%Y-%m-%d %H:%M}, {within}"
