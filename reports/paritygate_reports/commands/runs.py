"""List the runs, the newest first."""

from __future__ import annotations

import argparse

from paritygate_reports.commands import count, opened, run_line

EXAMPLES = ("paritygate runs", "paritygate runs --branch main -n 5")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--branch", help="of this branch only")
    parser.add_argument(
        "-n", type=count, default=20, metavar="N", help="at most so many (default 20; 0: all)"
    )


def run(parsed: argparse.Namespace) -> int:
    """Print a line a run."""
    store = opened(parsed)
    found = [run for run in reversed(store.runs()) if parsed.branch in (None, run.branch)]
    if not found:
        print(f"{store.name} has no run" + (f" of branch {parsed.branch}" if parsed.branch else ""))
        return 0
    ended = store.outcomes()
    for run in found[: parsed.n or None]:
        print(run_line(run, ended.get(run.id, {})))
    if parsed.n and len(found) > parsed.n:
        print(f"and {len(found) - parsed.n} older; -n 0 lists all")
    return 0
