"""List the runs, the newest first."""

from __future__ import annotations

import argparse

from paritygate_reports.commands import count, opened, run_line

EXAMPLES = ("paritygate runs", "paritygate runs --branch main -n 5")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--branch", help="only runs of this branch")
    parser.add_argument(
        "-n", type=count, default=20, metavar="N", help="at most so many (default 20; 0: all)"
    )


def run(parsed: argparse.Namespace) -> int:
    """Print one line for each run."""
    store = opened(parsed)
    runs = [run for run in reversed(store.runs()) if parsed.branch in (None, run.branch)]
    if not runs:
        print(f"{store.name} has no run" + (f" of branch {parsed.branch}" if parsed.branch else ""))
        return 0
    ended = store.outcomes()
    for run in runs[: parsed.n or None]:
        print(run_line(run, ended.get(run.id, {})))
    if parsed.n and len(runs) > parsed.n:
        print(f"and {len(runs) - parsed.n} older; -n 0 lists all")
    return 0
