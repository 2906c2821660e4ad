"""The reports: store records and show them.

``load(store)`` returns the records as a DataFrame. ``compare(base, head)`` compares a run with
earlier runs. ``changepoints(frame)`` finds the run since which a cell is slower. Imports neither
pandas nor sqlalchemy until one of them is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paritygate_reports.analysis.baseline import compare
    from paritygate_reports.analysis.change_points import changepoints
    from paritygate_reports.frame import load

__all__ = ["changepoints", "compare", "load"]
PLACES = {
    "changepoints": "paritygate_reports.analysis.change_points",
    "compare": "paritygate_reports.analysis.baseline",
    "load": "paritygate_reports.frame",
}


def __getattr__(name: str) -> Any:
    """Import a public function when it is first used: importing pandas takes longer than collecting
    the matrix.
    """
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module 'reports' has no attribute {name!r}; it has {', '.join(PLACES)}")
