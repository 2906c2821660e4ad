"""The names by which a ``Case`` finds the rows of a table: of a model's factory, and with "_inputs"
of its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def attributes(table: Mapping[str, Any], module: str) -> Callable[[str], Callable[..., Any]]:
    """Return the ``__getattr__`` of a module that has such a table, whose rows have ``make`` and
    ``inputs``.
    """

    def find(name: str) -> Callable[..., Any]:
        row = table.get(name.removesuffix("_inputs"))
        if row is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        found: Callable[..., Any] = row.make if name in table else row.inputs
        return found

    return find
