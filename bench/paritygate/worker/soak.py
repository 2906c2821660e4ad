"""Soak: does a cell hold more memory the longer it runs? A leak of one tensor a step shows in a
thousand steps.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch

PARTS = 10  # of the calls; memory is looked at between them
ROUNDS = 3
WARM = 0.1  # share of the calls that come first: pools and caches fill in them
LEAKED_TENSORS = 0.5  # a call; a leak is one or more of them
LEAKED_BYTES = 1024  # a call; less than this is the allocator's handling of pages


def soak(call: Callable[[int], Any], calls: int, held: Callable[[], int | None]) -> dict[str, Any]:
    """Return how much a cell keeps of every call: bytes, and tensors that Python still knows.

    ``call`` is called with 0, 1, 2 ...; ``held`` returns the bytes held now. Both results are the
    median of the slopes between all pairs of looks (Theil 1950, Sen 1968), so one disturbed look
    moves neither. If bytes seem to be kept, further rounds of as many calls follow: a leak goes on,
    but the pool of an allocator is full at some time.
    """
    number = 0

    def run(count: int) -> None:
        nonlocal number
        for _ in range(count):
            call(number)
            number += 1

    run(max(1, int(WARM * calls)))
    for _ in range(ROUNDS):
        found = _round(run, max(1, calls // PARTS), held)
        found["calls"] = number
        if found["tensors_per_call"] >= LEAKED_TENSORS or not leak(found):
            break
    return found


def _round(run: Callable[[int], None], each: int, held: Callable[[], int | None]) -> dict[str, Any]:
    """Return the memory that a call keeps, from looks before, between and after the parts of a
    round.
    """
    looks = []
    for part in range(PARTS + 1):
        gc.collect()
        looks.append((part * each, held(), _tensors()))
        if part < PARTS:
            run(each)
    ran, bytes_held, tensors = zip(*looks, strict=True)
    found: dict[str, Any] = {"tensors_per_call": _slope(ran, tensors)}
    if None not in bytes_held:
        found["bytes_per_call"] = _slope(ran, bytes_held)
    return found


def leak(found: dict[str, Any]) -> str:
    """Return a reason if every call keeps memory, or ""."""
    if found["tensors_per_call"] >= LEAKED_TENSORS:
        what = f"{found['tensors_per_call']:.3g} tensors"
    elif (kept := found.get("bytes_per_call", 0.0)) >= LEAKED_BYTES:
        what = f"{kept / 1024:.3g} KiB"
    else:
        return ""
    return f"leak: {what} of every call are kept (over {found['calls']} calls)"


def _slope(ran: Sequence[int], held: Sequence[int]) -> float:
    points = list(zip(ran, held, strict=True))
    return float(np.median([(b - a) / (y - x) for (x, a), (y, b) in combinations(points, 2)]))


def _tensors() -> int:
    # by type: reading `__class__` makes some lazy objects import a module or warn
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
