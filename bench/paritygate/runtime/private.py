"""Private names of torch, which another release may not have: read and set here, and nowhere else.

A name that is missing is *not known*: ``read`` gives None, ``assign`` False, and nothing fails.
"""

from __future__ import annotations

import pkgutil
from typing import Any


def read(name: str) -> Any:
    """Return what torch has under a name, e.g. "torch._dynamo.utils.counters", or None."""
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return None


def assign(name: str, value: object) -> bool:
    """Set a name to a value, and return whether torch has that name; what it lacks is not made."""
    if read(name) is None:
        return False
    owner, _, attribute = name.rpartition(".")
    setattr(read(owner), attribute, value)
    return True
