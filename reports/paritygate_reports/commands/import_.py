"""Read runs from files into the store, all of them or none.

Takes files of export and --bench-report FILE.json, and pytest-benchmark's JSON (--benchmark-json,
autosave). With --as-one the files are the shards of one run, written by the jobs of a CI matrix,
and become that run. If a shard or cell is missing, it is named, nothing is written, and the exit
status is 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from paritygate.core.reasons import counted
from paritygate_reports.commands import opened

EXAMPLES = (
    "paritygate import runs/",
    "paritygate --store all.sqlite import a.json b.parquet .benchmarks/",
    "paritygate import --as-one shards/ --shards 4 --cells cells.txt",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "places",
        nargs="+",
        type=Path,
        metavar="FILE_OR_FOLDER",
        help="files, or folders with such files in them and below",
    )
    parser.add_argument(
        "--as-one", action="store_true", help="merge the files into one run, whose shards they are"
    )
    parser.add_argument(
        "--shards", type=_number, metavar="N", help="with --as-one: how many files there must be"
    )
    parser.add_argument(
        "--cells",
        type=Path,
        metavar="FILE",
        help="with --as-one: the cells that must be there, as pytest bench --collect-only -q "
        "printed them",
    )


def run(parsed: argparse.Namespace) -> int:
    """Read all files, then write all runs."""
    from paritygate_reports.files import runfiles, shards
    from paritygate_reports.files.jsontext import FileError

    if not parsed.as_one and (parsed.shards or parsed.cells):
        raise FileError("--shards and --cells need --as-one: add it")
    paths = _files(parsed.places, runfiles.SUFFIXES)
    if not paths:
        raise FileError(
            f"{', '.join(map(str, parsed.places))}: no {' or '.join(runfiles.SUFFIXES)} file in there"
        )
    if parsed.shards and len(paths) > parsed.shards:
        raise FileError(
            f"there are {len(paths)} files, and --shards {parsed.shards}: leave out those that are no shards: "
            f"{', '.join(map(str, paths))}"
        )
    wanted = shards.expected(parsed.cells) if parsed.cells else None
    runs = [runfiles.read(path) for path in tqdm(paths, "reading", disable=None)]
    if parsed.as_one:
        runs = [
            shards.merged(
                [shards.Shard(path, *pair) for path, pair in zip(paths, runs, strict=True)]
            )
        ]
        there = [record.cell for record in runs[0][1]]
        missing = [f"missing shard: {name}" for name in shards.missing(paths, parsed.shards or 0)]
        missing += [f"missing cell: {cell}" for cell in wanted or () if cell not in there]
        if missing:
            print(
                "\n".join([*missing, "nothing was written: the run is not complete"]),
                file=sys.stderr,
            )
            return 1
        for cell in there:
            if wanted is not None and cell not in wanted:
                print(f"not expected by {parsed.cells}: {cell}")
    store = opened(parsed, make=True)
    known = {run.id for run in store.runs()}
    store.write_runs(runs)
    new = len({run.id for run, _ in runs} - known)
    cells = sum(len(records) for _, records in runs)
    size = f"{counted(len(runs), 'run')} with {counted(cells, 'cell')}"
    print(f"{size} read into {store.name}, {new} of them new")
    return 0


def _files(places: list[Path], suffixes: tuple[str, ...]) -> list[Path]:
    """Return the named files, and those with these suffixes in the named folders and below. Each
    once.
    """
    files: dict[Path, None] = {}
    for place in places:
        below = (
            path for path in sorted(place.rglob("*")) if path.suffix in suffixes and path.is_file()
        )
        files |= dict.fromkeys(below if place.is_dir() else [place])
    return list(files)


def _number(value: str) -> int:
    """Return the number of shards from the command line."""
    if not value.isdigit() or not int(value):
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of shards; use 1 or more")
    return int(value)
