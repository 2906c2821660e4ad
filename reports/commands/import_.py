"""Reads runs from JSON files into the store, all of them or none."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from reports import text
from reports.commands import opened

EXAMPLES = ("python -m reports import runs/", "python -m reports --store all.sqlite import a.json b.json")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what the command takes."""
    parser.add_argument("places", nargs="+", type=Path, metavar="FILE_OR_FOLDER",
                        help="written by export or by --bench-report FILE.json")  # fmt: skip


def run(parsed: argparse.Namespace) -> int:
    """Reads everything before anything is written."""
    from reports.jsontext import FileError, read_run

    paths = [path for place in parsed.places for path in (sorted(place.glob("*.json")) if place.is_dir() else [place])]
    if not paths:
        raise FileError(f"{', '.join(map(str, parsed.places))}: no .json file in there")
    found = [read_run(path) for path in tqdm(paths, "reading", disable=None)]
    store = opened(parsed, make=True)
    known = {run.id for run in store.runs()}
    store.write_runs(found)
    new = sum(run.id not in known for run, _ in found)
    cells = sum(len(records) for _, records in found)
    size = f"{text.counted(len(found), 'run')} with {text.counted(cells, 'cell')}"
    print(f"{size} read into {store.name}, {new} of them new")
    return 0
