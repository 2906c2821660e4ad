"""A command whose reader goes away, as `head` does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from paritygate_reports.store.store import Store
from tests.support.history import FINE, NEW, OLD, WRONG
from tests.support.paths import ROOT


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "s.sqlite")
    found.write_runs([(OLD, [FINE]), (NEW, [FINE, WRONG])])
    return found


def test_a_reader_that_goes_away_is_no_error(store):
    command = f"{sys.executable} -m paritygate --store {store.name} runs | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
