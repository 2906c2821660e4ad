"""``python -m paritygate_reports``: what stored runs tell. Measures nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from paritygate.host.paths import NAME
from paritygate_reports.places import STORE_FILE, STORE_VARIABLE

COMMANDS = ("runs", "show", "compare", "trend", "html", "site", "export", "import_", "prune")
"""The modules of ``paritygate_reports.commands``, in the order of ``--help``; an underscore keeps a name out of the
language.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0, 1 where what is shown is not ok, 2 for what cannot be done."""
    parsed = _parser().parse_args(arguments)
    from paritygate_reports.files.jsontext import FileError
    from paritygate_reports.store.database import StoreError  # sqlalchemy: 0.2 s, and --help needs none of it

    try:
        return int(parsed.run(parsed))
    except (StoreError, FileError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader has seen enough: `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"python -m paritygate_reports: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m paritygate_reports", description="What stored runs tell. Measures nothing."
    )
    parser.add_argument("--store", metavar="URL_OR_FILE",
                        help=f"the store (default: ${STORE_VARIABLE}, then {NAME}/{STORE_FILE})")  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"paritygate_reports.commands.{name}")
        about = (module.__doc__ or "").strip()
        command = commands.add_parser(
            name.rstrip("_"),
            help=about.partition("\n")[0].removesuffix("."),
            description=about,
            epilog="\n  ".join(["examples:", *module.EXAMPLES]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.arguments(command)
        command.set_defaults(run=module.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
