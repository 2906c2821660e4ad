"""The files that git holds."""

from __future__ import annotations

import re
import subprocess

from tests.support.paths import ROOT

TOP = {
    *("bench", "models", "reports", "tests"),
    *("conftest.py", "constraints.txt", "pyproject.toml"),
    *("CHANGELOG.md", "LICENSE", "Makefile", "README.md"),
}


def listed() -> list[str]:
    """The paths of all files that git holds."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_nothing_else_lies_at_the_top():
    """A file that a tool has left there is committed by ``git add -A`` before one sees it."""
    tops = {name.partition("/")[0] for name in listed()}
    assert {top for top in tops if not top.startswith(".")} == TOP


def test_the_tree_names_no_registry_and_no_home():
    words = re.compile(
        "/(ro" + "ot|wo" + "rk)/|index" + "-url|find" + "-links|py" + "pi[.]|python" + "hosted"
    )
    for name in listed():
        path = ROOT / name
        if (
            path.suffix in (".py", ".md", ".toml", ".yml", ".txt", ".csv", ".json")
            and path.exists()
        ):
            assert not words.search(path.read_text()), name
