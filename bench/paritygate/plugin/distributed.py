"""pytest-xdist: one run for all its workers, and its outcome in the process that controls them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from paritygate.plugin.outcomes import Tally

IDENTITY = pytest.StashKey[dict[str, str]]()  # the id of the one run, and when it started


def name_run(node: Any) -> None:
    """Give a worker the run's id and start. From then on, count the reports of the workers."""
    config = node.config
    if IDENTITY not in config.stash:
        config.stash[IDENTITY] = {
            "id": str(uuid.uuid4()),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        Tally.of(config)
    node.workerinput["paritygate_run"] = config.stash[IDENTITY]


def identity(config: pytest.Config) -> dict[str, str]:
    """Return the id and start that the run of this process must have. Return nothing without xdist."""
    found: dict[str, str] = getattr(config, "workerinput", {}).get(
        "paritygate_run"
    ) or config.stash.get(IDENTITY, {})
    return found
