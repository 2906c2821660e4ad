"""The fixtures that tests share."""

from __future__ import annotations

import os

os.environ.setdefault(
    "OMP_WAIT_POLICY", "passive"
)  # torch's threads share the cores with other tests
pytest_plugins = [
    "pytester",
    "tests.support.project",
    "tests.support.repository",
    "tests.support.rig",
    "tests.support.postgresql",
]
