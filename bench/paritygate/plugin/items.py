"""What the harness keeps with a session and its items, and what an item is to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from paritygate.core.case import Cell
from paritygate.core.exitstatus import Outcome
from paritygate.session.run import MatrixRun

if TYPE_CHECKING:
    from paritygate.gate.session import Verdicts

MATRIX = pytest.StashKey[MatrixRun]()
OUTCOME = pytest.StashKey[Outcome]()
# with --bench-against, once base is checked out
VERDICTS: pytest.StashKey[Verdicts] = pytest.StashKey()
KINDS = ("parity", "throughput", "regression")
REGRESSION = "paritygate_regression"  # the attribute that marks our own test function


def cell_of_item(item: pytest.Item) -> Cell | None:
    """The cell that an item is about, if it is about one."""
    found = getattr(item, "callspec", None)
    value = found.params.get("cell") if found is not None else None
    return value if isinstance(value, Cell) else None


def is_throughput(item: pytest.Item) -> bool:
    """Whether an item times its cell; others only check it, or compare it."""
    return "benchmark" in getattr(item, "fixturenames", ())


def is_regression(item: pytest.Item) -> bool:
    """Whether an item is one of the harness's own ``test_regression``."""
    return hasattr(getattr(item, "obj", None), REGRESSION)


def kind(item: pytest.Item) -> str:
    """``parity``, ``throughput`` or ``regression``: in this order they run."""
    return (
        "regression" if is_regression(item) else "throughput" if is_throughput(item) else "parity"
    )
