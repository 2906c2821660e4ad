"""``python -m paritygate``, or the command ``paritygate``: what is not a pytest run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from paritygate.host import paths


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m paritygate",
        description="paritygate: same answers, no slower. The matrix itself runs by `pytest bench`.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor",
        help="is this machine fit to be measured on?",
        description="Shows the conditions that measuring processes get here, times six cells in fresh processes with "
        "and without the laboratory, and says what to do about each finding. Changes nothing. Exit status 1 when "
        "there is something to do.",
        epilog="examples:  python -m paritygate doctor    python -m paritygate doctor --launches 0   (no timing)",
    )
    doctor.add_argument("--launches", type=_count, default=5, metavar="N", help="fresh processes a side (default 5)")
    doctor.set_defaults(run=_doctor)
    aa = commands.add_parser(
        "aa",
        help="how often does the gate cry wolf on this machine?",
        description="Runs the gate with the same code on both sides and tells false alarms, coverage, spread and cost; "
        "with --plant also what share of slowdowns is found. Exit status 1 when unchanged code was called slower.",
        epilog="examples:  paritygate aa --runs 20 --resume aa.csv    paritygate aa --plant 3,5,10%",
    )
    aa.add_argument("--runs", type=int, default=5, metavar="N", help="runs in all, those in FILE included (default 5)")
    aa.add_argument("--resume", type=Path, default=Path(".paritygate/aa.csv"), metavar="FILE",
                    help="where rows are kept and continued (default .paritygate/aa.csv)")  # fmt: skip
    aa.add_argument("--plant", type=_shares, default=[], metavar="SIZES",
                    help="make two cells slower by each of these shares in every run, e.g. 3,5,10%%")  # fmt: skip
    aa.add_argument("-k", dest="select", metavar="EXPRESSION", help="which cells (default: 15 of five models)")
    aa.set_defaults(run=_aa)
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except KeyboardInterrupt:
        return 130


def _doctor(parsed: argparse.Namespace) -> int:
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


def _aa(parsed: argparse.Namespace) -> int:
    from paritygate.gate import aa

    def say(text: str) -> None:
        print(text, flush=True)

    return aa.run(parsed.resume, parsed.runs, parsed.plant, parsed.select or aa.CELLS, say)


def _shares(text: str) -> list[float]:
    """``3,5,10%`` or ``0.03,0.05``."""
    percent = text.endswith("%")
    shares = [float(part) / (100 if percent else 1) for part in text.removesuffix("%").split(",")]
    if not all(0 < share < 1 for share in shares):
        raise argparse.ArgumentTypeError("shares like 3,5,10% or 0.03,0.05")
    return shares


def _count(text: str) -> int:
    count = int(text)
    if count < 0 or count == 1:
        raise argparse.ArgumentTypeError("0 (no timing), or at least 2: a spread needs two processes")
    return count


if __name__ == "__main__":
    sys.exit(main())
