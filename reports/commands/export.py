"""Writes runs with all their samples as JSON files."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from reports import text
from reports.commands import NAMES, opened

EXAMPLES = ("python -m reports export runs/", "python -m reports export runs/ latest 3711b502")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    parser.add_argument("folder", type=Path, help="a file for each run is written here")
    parser.add_argument("names", nargs="*", metavar="RUN", help=f"{NAMES} (default: every run)")


def run(parsed: argparse.Namespace) -> int:
    """Writes a file a run; each appears whole or not at all."""
    from reports import files

    store = opened(parsed)
    runs = [store.find(name) for name in parsed.names] if parsed.names else store.runs()
    for run in tqdm(runs, "exporting", disable=None):
        day = run.started[:10]
        files.write(parsed.folder / f"{day}-{run.id}.json", run, store.records(run.id, samples=True))
    print(f"{text.counted(len(runs), 'run')} written to {parsed.folder}")
    return 0
