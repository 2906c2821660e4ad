"""The reporting commands of ``paritygate``, one module each: docstring (the help), ``EXAMPLES``,
``arguments``, ``run``.

Their imports are light. Modules that are slow to import (pandas, sqlalchemy, plotly) are imported
in ``run``.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from paritygate.core.record import Run
from paritygate.host.paths import find
from paritygate_reports.places import STORE_FILE, STORE_VARIABLE
from paritygate_reports.view import text

if TYPE_CHECKING:
    from paritygate_reports.store.store import Store

NAMES = "the first characters of a run's id, a commit, a branch, or latest"


def opened(parsed: argparse.Namespace, make: bool = False) -> Store:
    """Return the store that the command line, the environment or the default names."""
    from paritygate_reports.store.store import Store

    here = Path.cwd()
    default = find(here) / STORE_FILE
    short = default.relative_to(here) if default.is_relative_to(here) else default
    return Store(parsed.store or os.environ.get(STORE_VARIABLE) or short, make=make)


def run_line(run: Run, ended: dict[str, int] | None = None) -> str:
    """Return a line about a run: id, start, code, budget, and how its cells ended, where given."""
    code = (
        f"{run.branch or 'detached'}@{run.commit[:10]}{'*' if run.dirty else ''}"
        if run.commit
        else "no commit"
    )
    line = f"{run.id[:8]}  {run.started[:16].replace('T', ' ')}  {code:<28} {run.budget:<7}"
    if ended is not None:
        line += " " + (
            ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in ended.items())
            or "no cells"
        )
    return text.printable(line)


def count(value: str) -> int:
    """Return a number of runs from the command line."""
    if not value.isdigit():
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of runs; use 0 or more")
    return int(value)
