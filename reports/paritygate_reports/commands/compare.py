"""Compare a run with earlier runs. This is advice; the gate decides.

For each cell: is it slower than its history on such a machine predicts? This needs at least eight
runs. Measure flagged cells side by side: pytest bench --bench-against.
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
# as in paritygate_reports.renderers.against_history, which --help must not import
FORMATS = (
    "terminal",
    "md",
    "csv",
    "json",
    "parquet",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("base", metavar="BASE", help="a branch: its runs before HEAD; or a run")
    parser.add_argument(
        "head", nargs="?", default="latest", metavar="HEAD", help=f"{NAMES} (default: latest)"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit with status 1 if a cell is regressed, broken or missing",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="output format (default: by FILE's suffix, else terminal)",
    )
    parser.add_argument("-o", dest="output", type=Path, metavar="FILE", help="write it to FILE")


def run(parsed: argparse.Namespace) -> int:
    """Print or write one line for each cell, the worst first."""
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
        raise FileError("Parquet cannot be printed: name a file with -o FILE.parquet")
    store = opened(parsed)
    advice = advise(store, parsed.base, store.find(parsed.head))
    output = RENDERERS[wanted](advice)
    if parsed.output:
        replace_whole(parsed.output, lambda path: path.write_bytes(output))
    else:
        sys.stdout.write(output.decode())
    return int(parsed.strict and advice.bad)
