"""The cells of base: its own checkout collects them, and tells their work."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from paritygate.core import work
from paritygate.core.case import Cell
from paritygate.core.work import Work

DEADLINE = 300  # seconds


def collect(root: Path, arguments: Sequence[str]) -> tuple[dict[str, Work | None] | None, str]:
    """Return (the cells that pytest collects in base's checkout with these arguments, with their
    work; None if they are not known, and why, or "").

    The work of a cell is None if base's paritygate does not tell it.
    """
    # with the gate's items, as here: -k then finds the same ones
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    command += ["--bench-against", "HEAD", *arguments]
    path = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "GIT_"))
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "cells.json")
        environment |= {"PYTHONPATH": os.pathsep.join(path), work.FILE: str(file)}
        try:
            done = subprocess.run(
                command,
                cwd=root,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=DEADLINE,
            )
        except subprocess.TimeoutExpired:
            return None, f"collecting base's cells took over {DEADLINE} s"
        told = work.read(file)
    if done.returncode not in (0, 5):
        last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
        return (
            None,
            f"base's cells could not be collected, so new and missing cells are not known: {last}",
        )
    lines = [line for line in done.stdout.splitlines() if "::" in line]
    found = dict.fromkeys(line.partition("[")[2].rstrip("]") for line in lines)
    return {cell: told.get(cell) for cell in found if cell.count("-") == 4}, ""


def why_new(cell: Cell, base: Mapping[str, Work | None] | None) -> str:
    """Return why base has no cell to compare with, or "" if it has one or is not known."""
    if base is None:
        return ""
    if cell.id not in base:
        return "base has no such cell"
    before = base[cell.id]
    changed = "" if before is None else work.difference(before, work.work(cell))
    return f"base has other work under this name: {changed}" if changed else ""
