"""The fixtures that tests share, and what lets tests run side by side."""

from __future__ import annotations

import os
import sys

from tests.support.paths import SCRIPTS

pytest_plugins = [
    "pytester",
    "tests.support.github",
    "tests.support.project",
    "tests.support.repository",
    "tests.support.rig",
    "tests.support.postgresql",
    "tests.support.trained",
]
# a thread of torch that waits takes no core from other tests
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# a pytest that a test starts is none of xdist's workers
for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
    del os.environ[name]
sys.path.append(str(SCRIPTS))  # they lie beside the workflows, in no package
