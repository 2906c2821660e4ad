"""The files that git holds."""

from __future__ import annotations

import re
import subprocess

from tests.support.paths import ROOT


def test_the_tree_names_no_registry_and_no_home():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    words = re.compile(
        "/(ro" + "ot|wo" + "rk)/|index" + "-url|find" + "-links|py" + "pi[.]|python" + "hosted"
    )
    for name in listed:
        path = ROOT / name
        if (
            path.suffix in (".py", ".md", ".toml", ".yml", ".txt", ".csv", ".json")
            and path.exists()
        ):
            assert not words.search(path.read_text()), name
