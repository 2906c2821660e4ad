"""The stash keys of a session and its items, and questions about an item."""

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
    """Return the cell of an item, or None."""
    found = getattr(item, "callspec", None)
    value = found.params.get("cell") if found is not None else None
    return value if isinstance(value, Cell) else None


def is_throughput(item: pytest.Item) -> bool:
    """Return whether an item times its cell. Other items only check it, or compare it."""
    return "benchmark" in getattr(item, "fixturenames", ())


def is_regression(item: pytest.Item) -> bool:
    """Return whether an item is one of the harness's own ``test_regression``."""
    return hasattr(getattr(item, "obj", None), REGRESSION)


def kind(item: pytest.Item) -> str:
    """Return ``parity``, ``throughput`` or ``regression``. Items run in this order."""
    return (
        "regression" if is_regression(item) else "throughput" if is_throughput(item) else "parity"
    )
