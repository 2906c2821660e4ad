"""Choose the launch pairs to measure again because the machine was disturbed. Pure, and blind to
the sides.

The reference is the cell itself. Its level is the mean of both sides' log times. It is compared
with the fastest launch of the cell so far. A program beside it that takes cache or clock slows both
sides. D of such a pair scatters, but its expectation stays the same. A slower head is slower in
every launch, so it does not raise the level of one launch above another.
"""

from __future__ import annotations

from collections.abc import Hashable

from paritygate.timing.diagnostics import STEAL, Conditions

LEVEL = 0.10  # above the fastest launch by more than this, in ln(seconds)
# the device's clocks after base's and head's blocks differ by more than this, in ln(Hz)
CLOCK = 0.01
REPEATED = 0.5  # repetitions for each launch pair, at most: a run must also end on a machine that is never calm


class Disturbances:
    """Judges launch pairs one after the other. ``repeated`` counts those to measure again."""

    def __init__(self) -> None:
        self.pairs = self.repeated = 0
        self._fastest: dict[Hashable, float] = {}

    def again(
        self, name: Hashable, level: float, conditions: Conditions, clock: float = 0.0
    ) -> bool:
        """Return whether to measure a pair again. Call it after the first measurement of the pair
        in its launch.
        """
        self.pairs += 1
        slowed = level > self._fastest.get(name, level) + LEVEL
        self._fastest[name] = min(level, self._fastest.get(name, level))
        disturbed = (
            slowed or conditions.steal > STEAL or conditions.throttled or conditions.gpu_foreign
        )
        disturbed = disturbed or abs(clock) > CLOCK
        if not disturbed or self.repeated >= REPEATED * self.pairs:
            return False
        self.repeated += 1
        return True
