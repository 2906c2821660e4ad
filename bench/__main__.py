"""``python -m bench``, or the command ``paritygate``: what is not a pytest run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import paths


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="paritygate: same answers, no slower. The matrix itself runs by `pytest bench`.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor",
        help="is this machine fit to be measured on?",
        description="Shows the conditions that measuring processes get here, times six cells in fresh processes with "
        "and without the laboratory, and says what to do about each finding. Changes nothing. Exit status 1 when "
        "there is something to do.",
        epilog="examples:  python -m bench doctor    python -m bench doctor --launches 0   (no timing, seconds)",
    )
    doctor.add_argument("--launches", type=_count, default=5, metavar="N", help="fresh processes a side (default 5)")
    doctor.set_defaults(run=_doctor)
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except KeyboardInterrupt:
        return 130


def _doctor(parsed: argparse.Namespace) -> int:
    from bench import doctor

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
        raise argparse.ArgumentTypeError("0 (no timing), or at least 2: a spread needs two processes")
    return count


if __name__ == "__main__":
    sys.exit(main())
