"""What a program imports, as a Python of its own tells it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HEAVY = {
    "torch",
    "transformers",
    "onnxruntime",
    "pandas",
    "sqlalchemy",
    "scipy",
    "numpy",
    "pyarrow",
    "plotly",
}
PYTEST = "import pytest; status = pytest.main(sys.argv[1:])"
COMMAND = "from paritygate.__main__ import main; status = main(sys.argv[1:])"
PROGRAM = """
import sys
status, code = 0, sys.argv.pop(1)
try:
    exec(code)
except SystemExit as end:
    status = end.code
print()
print("imported:", *sys.modules)
sys.exit(status)
"""


class Ran(NamedTuple):
    """How a program ended, what it printed, and the modules that were loaded then."""

    status: int
    output: str
    modules: set[str]


def run(code: str, *arguments: str, cwd: Path | None = None) -> Ran:
    """Run some code with the arguments in ``sys.argv``; it may set ``status``."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, code, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    output, told, modules = done.stdout.rpartition("\nimported:")
    assert told, done.stdout + done.stderr
    return Ran(done.returncode, output + done.stderr, set(modules.split()))
