"""The only place that reads and sets private names of torch, which another release may not have.

A missing name is no error: ``read`` returns None and ``assign`` returns False.
"""

from __future__ import annotations

import pkgutil
from typing import Any


def read(name: str) -> Any:
    """Return the object of a name, e.g. "torch._dynamo.utils.counters", or None if there is none."""
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return None


def assign(name: str, value: object) -> bool:
    """Set a name to a value if torch has that name. Return whether it has."""
    if read(name) is None:
        return False
    owner, _, attribute = name.rpartition(".")
    setattr(read(owner), attribute, value)
    return True
