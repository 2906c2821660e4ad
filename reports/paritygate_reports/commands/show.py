"""Print a run's table again. Exit status 1 if the run was not ok."""

from __future__ import annotations

import argparse
import os
import sys

from paritygate_reports.commands import NAMES, opened

EXAMPLES = (
    "paritygate show",
    "paritygate show 3711b502",
    "paritygate show main",
)
COLOURS = {"good": "32", "bad": "31", "title": "1"}  # ANSI, by the tone of a line


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("name", nargs="?", default="latest", metavar="RUN", help=NAMES)


def run(parsed: argparse.Namespace) -> int:
    """Print the run as pytest did; in colours on a terminal, unless ``NO_COLOR`` is set."""
    from paritygate_reports.renderers import terminal
    from paritygate_reports.view.sections import passed

    store = opened(parsed)
    run = store.find(parsed.name)
    records = store.records(run.id)
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in terminal.lines(run, records, [f"records: {store.name}, run {run.id}"]):
        code = COLOURS.get(line.tone) if coloured else None
        print(f"\x1b[{code}m{line.text}\x1b[0m" if code else line.text)
    return 0 if passed(run, records) else 1
