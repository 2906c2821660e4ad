"""Which launch pairs are to be measured again, for what the machine did meanwhile. Pure, and blind
for the sides.

The anchor is the cell itself: its level, the mean of both sides' log times, against the fastest
launch of it so far. A neighbour that takes cache or clock slows both sides, and D of such a pair
scatters, though its expectation stays. A head that is slower is so in every launch, so its level
moves no launch against another.
"""

from __future__ import annotations

from collections.abc import Hashable

from paritygate.timing.diagnostics import STEAL, Conditions

LEVEL = 0.10  # so far above the fastest launch, in ln(seconds)
CLOCK = 0.01  # by which the device's clock was higher after the blocks of one side, whichever, in ln(Hz)
REPEATED = 0.5  # at most so many repetitions for each launch pair: on a machine that is never calm a run must end, too


class Disturbances:
    """Judges launch pairs one after the other; ``repeated`` counts those that were to be measured
    again.
    """

    def __init__(self) -> None:
        self.pairs = self.repeated = 0
        self._fastest: dict[Hashable, float] = {}

    def again(
        self, name: Hashable, level: float, conditions: Conditions, clock: float = 0.0
    ) -> bool:
        """Whether a pair that has just been measured for the first time in its launch should be
        measured again.
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
