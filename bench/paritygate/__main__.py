"""The command ``paritygate``, also ``python -m paritygate``: everything that is not a pytest run.

``COMMANDS`` is the table: name -> module. Such a module has a docstring (the help), ``EXAMPLES``,
``arguments(parser)`` and ``run(parsed)``, which returns the exit status. Only the module of the
chosen command is imported.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from paritygate.core.errors import UserError
from paritygate.core.extras import install


@dataclass(frozen=True)
class Command:
    """One row of the table. ``stored``: the command reads or writes a store, and takes
    ``--store``.
    """

    module: str
    help: str
    stored: bool = True


HARNESS, REPORTS = "paritygate.commands", "paritygate_reports.commands"
COMMANDS = {
    "doctor": Command(f"{HARNESS}.doctor", "is this machine fit to be measured on?", stored=False),
    "aa": Command(
        f"{HARNESS}.aa",
        "how often does the gate raise a false alarm on this machine?",
        stored=False,
    ),
    "gpu-check": Command(
        f"{HARNESS}.gpu_check", "check on this machine's GPU what the documents claim", stored=False
    ),
    "runs": Command(f"{REPORTS}.runs", "list the runs, the newest first"),
    "show": Command(f"{REPORTS}.show", "print a run's table again"),
    "compare": Command(
        f"{REPORTS}.compare", "compare a run with earlier runs (advice only; the gate decides)"
    ),
    "trend": Command(f"{REPORTS}.trend", "draw how long cells took from run to run"),
    "html": Command(f"{REPORTS}.html", "write a run with its history as one HTML file"),
    "site": Command(f"{REPORTS}.site", "write static pages for every machine and branch"),
    "export": Command(
        f"{REPORTS}.export", "write runs with their samples as JSON or Parquet files"
    ),
    "import": Command(f"{REPORTS}.import_", "read runs from files into the store"),
    "prune": Command(f"{REPORTS}.prune", "remove old runs for good"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    The status is 0, 1 where the command found something wrong, 2 where it cannot be done, 130 after
    Ctrl-C.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    parsed = _parser(given).parse_args(given)
    try:
        return int(parsed.run(parsed))
    except ModuleNotFoundError as error:
        if (needed := install(error)) is None:
            raise
        print(f"paritygate {parsed.command}: {needed}", file=sys.stderr)
        return 2
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader has seen enough: `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"paritygate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="paritygate",
        description="Same answers, no slower. The cells themselves run by pytest, e.g. `pytest bench`.",
        epilog="`paritygate COMMAND --help` shows what a command takes, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"paritygate {_version()}")
    _add_store(parser, None)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, command in COMMANDS.items():
        asked = name in given
        module = import_module(command.module) if asked else None
        sub = commands.add_parser(
            name,
            help=command.help,
            description=(module.__doc__ or "").strip() if module else None,
            epilog="\n  ".join(["examples:", *module.EXAMPLES]) if module else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if module is not None:
            if command.stored:
                # given here, it replaces the one given before the command
                _add_store(sub, argparse.SUPPRESS)
            module.arguments(sub)
            sub.set_defaults(run=module.run)
    return parser


def _add_store(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--store",
        metavar="URL_OR_FILE",
        default=default,
        help="the store of runs (default: $PARITYGATE_STORE, then .paritygate/store.sqlite)",
    )


def _version() -> str:
    try:
        return version("paritygate")
    except PackageNotFoundError:
        return "(a checkout that is not installed)"


if __name__ == "__main__":
    sys.exit(main())
