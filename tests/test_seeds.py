"""The README's table of what the seed documents name is true: every cell in it is collected."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def table():
    """(what, cell id) of every row."""
    text = (ROOT / "README.md").read_text("utf-8")
    rows = re.search(r"\| what \| cells \|\n\|---\|---\|\n((?:\|.*\n)+)", text)[1].splitlines()
    columns = [row.split("|") for row in rows]
    return [(what, cell) for _, what, cells, _ in columns for cell in re.findall("`(.+?)`", cells)]


@pytest.fixture(scope="module", name="collected")
def _collected():
    command = [sys.executable, "-m", "pytest", "bench", "--collect-only", "-q", "--bench-budget", "long",
               "--bench-targets", "cpu-*", "-p", "no:cacheprovider"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return set(re.findall(r"\[(.+)\]$", done.stdout, re.M))


@pytest.mark.parametrize(("what", "cell"), table())
def test_what_a_seed_names_is_a_cell(collected, what, cell):
    assert cell in collected, what


def test_the_table_is_whole():
    """A row for each thing, and each row names a cell."""
    rows = {what.strip() for what, _ in table()}

    assert len(rows) >= 20
