"""Check cells in a pytest of its own, for scripts that read their records afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

RAN = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, *range(10, 16))


def check(
    place: str,
    store: str | Path,
    options: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Check the cells of ``place``, a file or folder of suites, without timing them.

    ``store``: the URL of the store for the records. ``options``: pytest's options, name -> value.
    ``environment``: variables beside those of this process. Raises ``SystemExit`` with pytest's
    output if pytest did not run to its end: missing records must not look like passes.
    """
    given = [
        part
        for option in ({"--bench-store": str(store)} | dict(options)).items()
        for part in option
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", place, "--benchmark-disable", "-q", *given],
        check=False,
        env=os.environ | dict(environment or {}),
        capture_output=True,
        text=True,
    )
    if done.returncode not in RAN:
        output = (done.stdout + done.stderr).strip()[-2000:]
        raise SystemExit(f"pytest {place} ended with status {done.returncode}:\n{output}")
