"""Write a run with its history as one HTML file, which opens without network.

It shows verdicts, speed, latency, parity, memory, trends with their change points, the comparison
with earlier runs, the environment, and a table to sort, filter and copy.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from paritygate.host.paths import find
from paritygate_reports.commands import NAMES, opened

EXAMPLES = (
    "paritygate html",
    "paritygate html 3711b502 --against main -o report.html",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "name", nargs="?", default="latest", metavar="RUN", help=f"{NAMES} (default: latest)"
    )
    parser.add_argument(
        "--against", metavar="BASE", help="compare with a branch or a run (default: as --branch)"
    )
    parser.add_argument(
        "--branch", help="draw the trends of this branch (default: the one with the most runs)"
    )
    parser.add_argument(
        "-o",
        dest="output",
        type=Path,
        default=find(Path.cwd()) / "report.html",
        metavar="FILE",
        help="the file (default .paritygate/report.html)",
    )


def run(parsed: argparse.Namespace) -> int:
    """Write the file. It appears complete or not at all."""
    from paritygate_reports.files.writers import replace_whole
    from paritygate_reports.renderers.html import render
    from paritygate_reports.view.page import page_of

    page = render(page_of(opened(parsed), parsed.name, parsed.against, parsed.branch))
    replace_whole(parsed.output, lambda path: path.write_text(page, "utf-8", "backslashreplace"))
    print(f"{parsed.output}")
    return 0
