"""Machines, as in the frame's column ``machine``: JSON of the facts that must be equal for times to
be comparable.
"""

from __future__ import annotations

import json
from collections.abc import Sequence


def differing(before: str, after: str) -> list[str]:
    """Return the facts in which two machines differ: "threads 2 -> 4"."""
    old, new = json.loads(before), json.loads(after)
    names = sorted({*old, *new})
    return [
        f"{name} {old.get(name)} -> {new.get(name)}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def distinguishing_facts(machines: Sequence[str]) -> list[str]:
    """Return a name for each machine: the facts that are not the same in all of them, "" if all are
    one machine.
    """
    facts = [json.loads(machine) for machine in machines]
    names = sorted({name for each in facts for name in each})
    telling = [
        name for name in names if any(each.get(name) != facts[0].get(name) for each in facts)
    ]
    return [", ".join(f"{name} {each.get(name)}" for name in telling) for each in facts]
