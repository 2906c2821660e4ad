"""Make a new run: its code, its machine and its conditions, before the first cell."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from paritygate.core.devices import DEVICE_KINDS
from paritygate.core.record import Run
from paritygate.host import git, machine
from paritygate.session import targets
from paritygate.session.options import Options


def new_run(root: Path, options: Options, id: str = "", started: str = "") -> Run:
    """Return a run with its commit and its machine. It starts now, unless ``id`` and ``started`` are
    given.
    """
    environment = (
        machine.facts()
        | targets.gpu()
        | {"load_at_start": machine.load(), "started_at": time.time()}
    )
    absent = {device: why for device in DEVICE_KINDS if (why := targets.absent(device))}
    status = git.output(root, "status", "--porcelain")
    return Run(
        id=id or str(uuid.uuid4()),
        started=started or datetime.now(UTC).isoformat(timespec="seconds"),
        budget=options.budget.name,
        laboratory=options.controlled,
        seed=options.seed,
        commit=git.output(root, "rev-parse", "HEAD"),
        branch=git.output(root, "symbolic-ref", "--short", "-q", "HEAD"),
        dirty=None if status is None else bool(status),
        environment=environment,
        absent=absent,
    )
