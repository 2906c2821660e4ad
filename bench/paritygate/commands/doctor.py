"""Check whether this machine is fit to be measured on.

Shows the conditions that measuring processes get here, times six cells in fresh processes with and
without the laboratory, and says what to do about each finding. Changes nothing. Exit status 1 if
there is something to do.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from paritygate.host import paths

EXAMPLES = ("paritygate doctor", "paritygate doctor --launches 0    # no timing, some seconds")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--launches", type=_count, default=5, metavar="N", help="fresh processes a side (default 5)"
    )


def run(parsed: argparse.Namespace) -> int:
    """Print the findings. Return 1 if one needs action."""
    from paritygate import doctor

    live = sys.stderr.isatty()

    def say(text: str) -> None:
        if live:
            print(f"\r\x1b[2K{text[:100]}", end="", file=sys.stderr, flush=True)

    def tell(text: str) -> None:
        if live:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
        print(text, flush=True)

    return doctor.run(parsed.launches, paths.home(Path.cwd()), say, tell)


def _count(text: str) -> int:
    count = int(text)
    if count < 0 or count == 1:
        raise argparse.ArgumentTypeError(
            "0 (no timing), or at least 2: a spread needs two processes"
        )
    return count
