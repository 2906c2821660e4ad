"""The reports: keeps records and shows them.

``paritygate_reports.load(store)`` gives them as a DataFrame, ``paritygate_reports.compare(base,
head)`` tells how a run stands to runs of other days, ``paritygate_reports.changepoints(frame)``
since when a cell is slower. Imports no pandas and no sqlalchemy by itself.
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
    """The public functions, imported when first asked for: pandas takes longer than collecting the
    matrix.
    """
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module 'reports' has no attribute {name!r}; it has {', '.join(PLACES)}")
