"""Write runs with all their samples as JSON or Parquet files."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from urllib.parse import quote

from tqdm import tqdm

from paritygate.core.reasons import counted
from paritygate_reports.commands import NAMES, opened

EXAMPLES = (
    "paritygate export runs/",
    "paritygate export runs/ latest 3711b502",
    "paritygate export runs/ --format parquet",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from paritygate_reports.files.runfiles import FORMATS

    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="a file for each run is written here"
    )
    parser.add_argument("names", nargs="*", metavar="RUN", help=f"{NAMES} (default: every run)")
    parser.add_argument(
        "--format", choices=FORMATS, default="json", help="what is written (default: json)"
    )


def run(parsed: argparse.Namespace) -> int:
    """Write one file for each run. Each appears complete or not at all."""
    from paritygate_reports.files import runfiles, writers

    store = opened(parsed)
    runs = [store.find(name) for name in parsed.names] if parsed.names else store.runs()
    for run in tqdm(runs, "exporting", disable=None):
        # an imported id may look like a path
        name = quote(f"{run.started[:10]}-{run.id}", safe="")
        records = store.records(run.id, samples=True)
        write = partial(runfiles.FORMATS[parsed.format], run=run, records=records)
        writers.replace_whole(parsed.folder / f"{name}.{parsed.format}", write)
    print(f"{counted(len(runs), 'run')} written to {parsed.folder}")
    return 0
