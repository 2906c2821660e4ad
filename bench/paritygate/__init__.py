"""The harness. ``from paritygate import Case, Shape, cell_tests`` is all that a suite needs.
Imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paritygate.core.case import Case, Shape
    from paritygate.plugin.cell_tests import cell_tests

__all__ = ["Case", "Shape", "cell_tests"]

PLACES = {
    "Case": "paritygate.core.case",
    "Shape": "paritygate.core.case",
    "cell_tests": "paritygate.plugin.cell_tests",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562): a pytest run without cells must not pay
    for it.
    """
    if name not in PLACES:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; it has {', '.join(PLACES)}"
        )
    return getattr(import_module(PLACES[name]), name)
