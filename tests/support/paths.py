"""ROOT and GOLDEN: this repository, and the outputs that tests compare with."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
