"""Tell how a run stands to runs of other days: advice, the gate decides.

For each cell: is it slower than the history of such a machine lets expect? That takes eight runs at
least. What is flagged is to be measured side by side: pytest bench --bench-against.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from paritygate_reports.commands import NAMES, opened

EXAMPLES = (
    "paritygate compare main",
    "paritygate compare main 3711b502 --strict",
    "paritygate compare main --format md -o comment.md",
)
# of paritygate_reports.renderers.against_history, which is not for --help to import
FORMATS = (
    "terminal",
    "md",
    "csv",
    "json",
    "parquet",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("base", metavar="BASE", help="a branch: its runs before HEAD; or a run")
    parser.add_argument(
        "head", nargs="?", default="latest", metavar="HEAD", help=f"{NAMES} (default: latest)"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit status 1 where a cell is regressed, broken or missing",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="how it is told (default: by FILE's suffix, else terminal)",
    )
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE", help="write it to FILE")


def run(parsed: argparse.Namespace) -> int:
    """Print or write a line a cell, the worst first."""
    from paritygate_reports.analysis.against_history import advise
    from paritygate_reports.files.jsontext import FileError
    from paritygate_reports.files.writers import replace_whole
    from paritygate_reports.renderers.against_history import FORMATS as RENDERERS

    wanted = parsed.format or (
        parsed.output.suffix.lstrip(".").lower() if parsed.output else "terminal"
    )
    if wanted not in FORMATS:
        raise FileError(
            f"{parsed.output} must end in one of .{', .'.join(FORMATS[1:])}; or name a --format"
        )
    if wanted == "parquet" and parsed.output is None:
        raise FileError("Parquet is no text: name a file with -o FILE.parquet")
    store = opened(parsed)
    advice = advise(store, parsed.base, store.find(parsed.head))
    told = RENDERERS[wanted](advice)
    if parsed.output:
        replace_whole(parsed.output, lambda path: path.write_bytes(told))
    else:
        sys.stdout.write(told.decode())
    return int(parsed.strict and advice.bad)
