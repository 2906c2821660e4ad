"""Certain changes between two revisions: facts without noise, compared exactly, one line each.
Pure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paritygate.core.facts import FACTS
from paritygate.core.record import Record
from paritygate.process.protocol import Compared

OPERATORS = 5
CLOCK_SHARE = 0.005  # a step of an NVIDIA clock is 15 MHz of some 2,000
# the peak memory of one cell differs by up to this between workers; reports/evidence/overhead.json
PEAK_SHARE, PEAK_BYTES = 0.02, 1 << 20


@dataclass
class Changes:
    """The certain changes between a cell's two sides. ``found``: a line for each change. ``kept``: the facts
    that the case keeps, and that differ. ``answers``: why head's are others than base's by more than
    backends may differ, or "". ``same_code``: their compilers generated the same code.
    """

    found: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    answers: str = ""
    same_code: bool = False


def changed_facts(base: Record, head: Record) -> list[str]:
    """Return the facts of a cell that differ, as "name: base -> head". A fact that is known of one
    side only does not count.
    """
    pairs = ((name, _fact(base, name), _fact(head, name)) for name in FACTS)
    return [
        _line(name, before, after)
        for name, before, after in pairs
        if before is not None and after is not None and before != after
    ]


def changed_kept(base: Record, head: Record, names: Sequence[str]) -> list[str]:
    """Return the facts with these names that differ, as "name: base -> head". One that is known of
    one side only differs: kernels that a side does not use are not among its facts.
    """
    pairs = ((name, _fact(base, name), _fact(head, name)) for name in names)
    return [_line(name, before, after) for name, before, after in pairs if before != after]


def same_code(base: Record, head: Record) -> bool:
    """Return whether compilers generated the same code on both sides. False if that is not known."""
    generated = _fact(base, "generated_code")
    return generated is not None and generated == _fact(head, "generated_code")


def _fact(record: Record, name: str) -> Any:
    return getattr(record, name) if name in ("parameters", "flops") else record.facts.get(name)


def changed_peak(peaks: Sequence[tuple[int, int]]) -> str | None:
    """Return a line on peak memory, from (base, head) in bytes of every launch, or None.

    All launches must show the same change. In a single launch unchanged code can differ by some
    MiB, because it is chance when threads first ask for memory.
    """
    margins = [max(PEAK_BYTES, PEAK_SHARE * base) for base, _ in peaks]
    for sign in (1, -1):
        if peaks and all(
            sign * (head - base) > margin
            for (base, head), margin in zip(peaks, margins, strict=True)
        ):
            base, head = (statistics.median(side) / 2**20 for side in zip(*peaks, strict=True))
            return f"peak memory: {base:.1f} -> {head:.1f} MiB"
    return None


def changed_clock(clocks: Sequence[float], cycles: Sequence[float]) -> str | None:
    """Return a line if the device's clock differed between the sides, or None. Takes ln(head/base)
    of clock and of cycles, one value for each launch.

    A head that works harder may get a lower clock: then it takes longer, but no more cycles.
    """
    clock = statistics.fmean(clocks) if clocks else 0.0
    if abs(clock) <= CLOCK_SHARE:
        return None
    more = math.expm1(statistics.fmean(cycles))
    return f"device clock: {math.expm1(clock):+.1%} after head's blocks; counted in cycles head takes {more:+.1%}"


def changed_operators(base: Mapping[str, float], head: Mapping[str, float]) -> list[str]:
    """Return the operators that slow head down most, at most five, as "name: before -> after".
    Takes seconds a call.
    """
    more = {name: head.get(name, 0.0) - base.get(name, 0.0) for name in {*base, *head}}
    worst = sorted((name for name in more if more[name] > 0), key=lambda name: -more[name])[
        :OPERATORS
    ]
    return [
        f"operator {name}: {base.get(name, 0.0) * 1e6:.0f} -> {head.get(name, 0.0) * 1e6:.0f} µs a call"
        for name in worst
    ]


def changed_answers(compared: Compared) -> str | None:
    """Return a line on how head's answers differ from base's, on the same inputs and weights.
    Return None if the bits are the same.
    """
    if compared.identical:
        return None
    if compared.changed and compared.error == float("inf"):
        return f"answers: {compared.changed}"
    size = "more than backends may differ by" if compared.changed else "rounding"
    return f"answers: differ from base's by {compared.error:.2g} on the same inputs and weights ({size})"


def _line(name: str, before: Any, after: Any) -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [key for key in before | after if before.get(key) != after.get(key)]
        changes = ", ".join(f"{key} {before.get(key, 0)} -> {after.get(key, 0)}" for key in keys)
        return f"{name}: {changes}"
    return f"{name}: {before} -> {after}"
