"""Does head need more memory? Peaks of a cell's workers, from every launch pair. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

# In a single launch equal code can differ by some MiB: it is chance when threads first ask for
# memory. So every launch must show the change, and there must be as many as this.
FEWEST = 2
LEAST_BYTES = 2 << 20

Peaks = Sequence[tuple[int, int]]  # (base, head) of each launch, in bytes


def heavier(peaks: Peaks, share: float) -> str:
    """Return how much more memory head needs, if in every launch it is more by this share; or ""."""
    more = [head - base > max(LEAST_BYTES, share * base) for base, head in peaks]
    if len(peaks) < FEWEST or not all(more):
        return ""
    base, head = (statistics.median(side) / 2**20 for side in zip(*peaks, strict=True))
    size = f" ({head / base - 1:+.0%})" if base else ""
    return (
        f"more memory in each of {len(peaks)} launch pairs, by more than the tolerated {share:.0%}: "
        f"peak {base:.1f} -> {head:.1f} MiB{size}"
    )
