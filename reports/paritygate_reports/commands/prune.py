"""Remove old runs for good."""

from __future__ import annotations

import argparse

from paritygate.core.reasons import counted
from paritygate_reports.commands import count, opened, run_line

EXAMPLES = ("paritygate prune --keep 100 --dry-run", "paritygate prune --keep 100")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--keep", type=count, required=True, metavar="N", help="how many of the newest runs stay"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be removed, and remove nothing"
    )


def run(parsed: argparse.Namespace) -> int:
    """Print the old runs and remove them, in one transaction."""
    store = opened(parsed)
    old = list(reversed(store.runs()))[parsed.keep :]
    for run in old:
        print(run_line(run))
    if not parsed.dry_run:
        store.remove([run.id for run in old])
    print(
        f"{counted(len(old), 'run')} {'would be removed' if parsed.dry_run else 'removed'} from {store.name}"
    )
    return 0
