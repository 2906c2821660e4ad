"""Show how often the gate raises a false alarm on this machine.

Runs the gate with the same code on both sides and reports false alarms, coverage, spread and cost;
with --plant also the share of slowdowns that is found. Exit status 1 if unchanged code was called
slower.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = ("paritygate aa --runs 20 --resume aa.csv", "paritygate aa --plant 3,5,10%")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--runs",
        type=int,
        default=5,
        metavar="N",
        help="runs in all, those in FILE included (default 5)",
    )
    parser.add_argument(
        "--resume",
        type=Path,
        default=Path(".paritygate/aa.csv"),
        metavar="FILE",
        help="where rows are kept and continued (default .paritygate/aa.csv)",
    )
    parser.add_argument(
        "--plant",
        type=_shares,
        default=[],
        metavar="SIZES",
        help="make two cells slower by each of these shares in every run, e.g. 3,5,10%%",
    )
    parser.add_argument(
        "-k",
        dest="select",
        metavar="EXPRESSION",
        help="which cells (default: 15 of five models here; in another project, all)",
    )


def run(parsed: argparse.Namespace) -> int:
    """Make the runs that are missing in the file, then report."""
    from paritygate.gate import aa  # numpy and scipy

    def say(text: str) -> None:
        print(text, flush=True)

    return aa.run(parsed.resume, parsed.runs, parsed.plant, parsed.select or aa.CELLS, say)


def _shares(text: str) -> list[float]:
    """Return the shares in a text like ``3,5,10%`` or ``0.03,0.05``."""
    percent = text.endswith("%")
    shares = [float(part) / (100 if percent else 1) for part in text.removesuffix("%").split(",")]
    if not all(0 < share < 1 for share in shares):
        raise argparse.ArgumentTypeError("shares like 3,5,10% or 0.03,0.05")
    return shares
