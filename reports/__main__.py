"""``python -m reports``: what stored runs tell. Measures nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from bench.record import Run
from reports import text
from reports.jsontext import FileError

if TYPE_CHECKING:
    from reports.store import Store

STORE_VARIABLE = "PARITYGATE_STORE"
DEFAULT_STORE = ".paritygate/store.sqlite"
COLOURS = {"good": "32", "bad": "31", "title": "1"}  # ANSI, by the tone of a line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0, 1 where a shown run is not ok, 2 for what cannot be done."""
    from reports.store import StoreError  # sqlalchemy: 0.2 s, and --help needs none of it

    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except (StoreError, FileError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader has seen enough: `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"python -m reports: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reports", description="What stored runs tell. Measures nothing.")
    parser.add_argument("--store", metavar="URL_OR_FILE",
                        help=f"the store (default: ${STORE_VARIABLE}, then {DEFAULT_STORE})")  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    runs = commands.add_parser(
        "runs",
        help="list the runs, the newest first",
        epilog="examples:  python -m reports runs    python -m reports runs --branch main -n 5",
    )
    runs.add_argument("--branch", help="of this branch only")
    runs.add_argument("-n", type=_count, default=20, metavar="N", help="at most so many (default 20; 0: all)")
    runs.set_defaults(run=_runs)
    show = commands.add_parser(
        "show",
        help="print a run's table again",
        epilog="examples:  python -m reports show    python -m reports show 3711b502    python -m reports show main",
    )
    show.add_argument("name", nargs="?", default="latest", metavar="RUN", help=NAMES)
    show.set_defaults(run=_show)
    compare = commands.add_parser(
        "compare",
        help="how a run stands to runs of other days (advice; the gate decides)",
        description="Tells for each cell of a run whether it is slower than the history of such a machine lets expect. "
        "It takes eight runs at least; what is flagged is to be measured side by side: pytest bench --bench-against.",
        epilog="examples:  python -m reports compare main    python -m reports compare main 3711b502 --strict",
    )
    compare.add_argument("base", metavar="BASE", help="a branch: its runs before HEAD; or a run")
    compare.add_argument("head", nargs="?", default="latest", metavar="HEAD", help=f"{NAMES} (default: latest)")
    compare.add_argument("--strict", action="store_true",
                         help="exit status 1 where a cell is regressed, broken or missing")  # fmt: skip
    compare.set_defaults(run=_compare)
    export = commands.add_parser(
        "export",
        help="write runs with all their samples as JSON files",
        epilog="examples:  python -m reports export runs/    python -m reports export runs/ latest 3711b502",
    )
    export.add_argument("folder", type=Path, help="a file for each run is written here")
    export.add_argument("names", nargs="*", metavar="RUN", help=f"{NAMES} (default: every run)")
    export.set_defaults(run=_export)
    bring = commands.add_parser(
        "import",
        help="read runs from JSON files into the store, all of them or none",
        epilog="examples:  python -m reports import runs/    python -m reports --store all.sqlite import a.json b.json",
    )
    bring.add_argument("places", nargs="+", type=Path, metavar="FILE_OR_FOLDER",
                       help="written by export or by --bench-report FILE.json")  # fmt: skip
    bring.set_defaults(run=_import)
    prune = commands.add_parser(
        "prune",
        help="remove old runs for good",
        epilog="examples:  python -m reports prune --keep 100 --dry-run    python -m reports prune --keep 100",
    )
    prune.add_argument("--keep", type=_count, required=True, metavar="N", help="how many of the newest runs stay")
    prune.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    prune.set_defaults(run=_prune)
    return parser


NAMES = "the first characters of a run's id, a commit, a branch, or latest"


def _store(parsed: argparse.Namespace, make: bool = False) -> Store:
    from reports.store import Store

    return Store(parsed.store or os.environ.get(STORE_VARIABLE) or DEFAULT_STORE, make=make)


def _runs(parsed: argparse.Namespace) -> int:
    store = _store(parsed)
    found = [run for run in reversed(store.runs()) if parsed.branch in (None, run.branch)]
    if not found:
        print(f"{store.name} has no run" + (f" of branch {parsed.branch}" if parsed.branch else ""))
        return 0
    ended = store.outcomes()
    for run in found[: parsed.n or None]:
        print(_line(run, ended.get(run.id, {})))
    if parsed.n and len(found) > parsed.n:
        print(f"and {len(found) - parsed.n} older; -n 0 lists all")
    return 0


def _line(run: Run, ended: dict[str, int]) -> str:
    """One run: id, start, code, budget, and how its cells ended."""
    code = f"{run.branch or 'detached'}@{run.commit[:10]}{'*' if run.dirty else ''}" if run.commit else "no commit"
    counts = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in ended.items()) or "no cells"
    return text.printable(f"{run.id[:8]}  {run.started[:16].replace('T', ' ')}  {code:<28} {run.budget:<7} {counts}")


def _show(parsed: argparse.Namespace) -> int:
    from reports.renderers import terminal
    from reports.sections import passed

    store = _store(parsed)
    run = store.find(parsed.name)
    records = store.records(run.id)
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    for line in terminal.lines(run, records, [f"records: {store.name}, run {run.id}"]):
        code = COLOURS.get(line.tone) if coloured else None
        print(f"\x1b[{code}m{line.text}\x1b[0m" if code else line.text)
    return 0 if passed(records) else 1


def _compare(parsed: argparse.Namespace) -> int:
    import reports
    from reports.comparison import WORST_FIRST

    store = _store(parsed)
    head = store.find(parsed.head)
    wanted = ["run", "started", "cell", "status", "reason", "latency_p50", "machine"]
    where = store.url
    if any(run.branch == parsed.base for run in store.runs()):
        base = reports.load(where, branch=parsed.base, until=head.started, columns=wanted)
    else:
        base = reports.load(where, run=store.find(parsed.base).id, columns=wanted)
    found = reports.compare(base, reports.load(where, run=head.id, columns=wanted))
    place = {str(verdict): number for number, verdict in enumerate(WORST_FIRST)}
    rows = sorted(found.to_dict("records"), key=lambda row: (place.get(row["verdict"], 0), row["cell"]))
    print(
        f"{_line(head, {})}\nagainst {text.counted(base['run'].nunique(), 'run')} of {parsed.base}; advice, see --help"
    )
    for row in rows:
        known = isinstance(row["effect"], float)
        effect = f"{row['effect']:+.1%} ({row['low']:+.1%} to {row['high']:+.1%})" if known else ""
        print(text.printable(f"{row['verdict'].replace('_', ' '):<15}{effect:<28} {row['cell']}  {row['reason']}"))
    bad = {"regressed", "broken", "missing"} & {row["verdict"] for row in rows}
    return int(parsed.strict and bool(bad))


def _export(parsed: argparse.Namespace) -> int:
    from reports import files

    store = _store(parsed)
    runs = [store.find(name) for name in parsed.names] if parsed.names else store.runs()
    for run in tqdm(runs, "exporting", disable=None):
        day = run.started[:10]
        files.write(parsed.folder / f"{day}-{run.id}.json", run, store.records(run.id, samples=True))
    print(f"{text.counted(len(runs), 'run')} written to {parsed.folder}")
    return 0


def _import(parsed: argparse.Namespace) -> int:
    from reports.jsontext import read_run

    paths = [path for place in parsed.places for path in (sorted(place.glob("*.json")) if place.is_dir() else [place])]
    if not paths:
        raise FileError(f"{', '.join(map(str, parsed.places))}: no .json file in there")
    found = [read_run(path) for path in tqdm(paths, "reading", disable=None)]  # all, before anything is written
    store = _store(parsed, make=True)
    known = {run.id for run in store.runs()}
    store.write_runs(found)
    new = sum(run.id not in known for run, _ in found)
    cells = sum(len(records) for _, records in found)
    size = f"{text.counted(len(found), 'run')} with {text.counted(cells, 'cell')}"
    print(f"{size} read into {store.name}, {new} of them new")
    return 0


def _prune(parsed: argparse.Namespace) -> int:
    store = _store(parsed)
    old = list(reversed(store.runs()))[parsed.keep :]
    for run in old:
        print(_line(run, {}))
    if not parsed.dry_run:
        store.remove([run.id for run in old])
    print(f"{text.counted(len(old), 'run')} {'would be removed' if parsed.dry_run else 'removed'} from {store.name}")
    return 0


def _count(value: str) -> int:
    if not value.isdigit():
        raise argparse.ArgumentTypeError(f"{value!r} is no number of runs; give 0 or more")
    return int(value)


if __name__ == "__main__":
    sys.exit(main())
