"""The scripts of the workflows; they lie beside them, in no package."""

from __future__ import annotations

import sys

from tests.support.paths import ROOT

SCRIPTS = ROOT / ".github" / "scripts"
sys.path.append(str(SCRIPTS))

import bench_command  # noqa: E402
import bench_request  # noqa: E402
import post_comment  # noqa: E402

__all__ = ["SCRIPTS", "bench_command", "bench_request", "post_comment"]
