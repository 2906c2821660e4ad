"""Check on this machine's GPU what the documents claim: every part writes its numbers and commands
to a file.

Needs a checkout of paritygate with its suites and models; `make gpu-check` there does the same.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.util import find_spec

from paritygate.core.errors import UserError

EXAMPLES = (
    "paritygate gpu-check",
    "paritygate gpu-check --list",
    "paritygate gpu-check matrix planted",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments, if the checkout is there."""
    if find_spec("evidence") is not None:
        import_module("evidence.gpu").arguments(parser)


def run(parsed: argparse.Namespace) -> int:
    """Run the named parts, or those without results yet."""
    if find_spec("evidence") is None:
        raise UserError(
            "gpu-check needs a checkout of paritygate, installed by `make setup`; run it there"
        )
    status: int = import_module("evidence.gpu").run(parsed)
    return status
