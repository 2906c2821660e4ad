"""ROOT, GOLDEN and SCRIPTS: this repository, the outputs that tests compare with, and the scripts of
workflows.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
SCRIPTS = ROOT / ".github" / "scripts"
