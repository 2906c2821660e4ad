"""One launch pair of one cell: warm up both sides, then run ABBA quads until the spread of the pair
is small enough.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from paritygate.gate import quads
from paritygate.timing import schedule
from paritygate.timing.schedule import Timeable

WARM_UP = 0.5  # seconds at most for each side
# Short blocks, each with the lower quartile of its samples as its value: after the same seconds
# their quads spread 0.4 to 0.9 times as far as quads of 50 ms blocks with the median (two runs of
# python -m bench.evidence.blocks on a noisy host). Other programs make samples slower and never
# faster, and they come and go within some 100 ms.
BLOCK = 0.02  # seconds
FEWEST_SAMPLES = 3
QUARTILE = 0.25
UNLIKE = 2.0  # times as many calls: such a change is beyond what a plan could distort


@dataclass
class Measured:
    """The quads of one launch pair. Blocks are in seconds per call. ``orders``: the order of each
    quad, ABBA or BAAB.
    """

    quads: list[float] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    base: list[float] = field(default_factory=list)
    head: list[float] = field(default_factory=list)
    calls: int = 1  # in a sample
    held: tuple[str, ...] = ()  # reasons that lowered the device's clock in blocks that count
    # ln(head/base) of the device's clock after the blocks of the quads; 0 if not known
    clock: float = 0.0

    @property
    def d(self) -> float:
        """The one number of the launch pair: ln(head/base)."""
        return float(quads.trimmed_mean(self.quads))

    @property
    def cycles(self) -> float:
        """ln(head/base) counted in cycles of the device. A lower clock does not change it."""
        return self.d + self.clock

    @property
    def level(self) -> float:
        """The time level of the machine during the pair, in ln(seconds). It is the mean of both
        sides' median block.
        """
        return float(np.median(np.log(self.base)) + np.median(np.log(self.head))) / 2

    @property
    def within(self) -> float:
        """The standard error of D within the launch."""
        return float(quads.standard_error(self.quads))


def measure(
    base: Timeable,
    head: Timeable,
    rng: random.Random,
    clock: Callable[[], float],
    busy: float = 0.0,
) -> Measured:
    """Measure the quads of a launch pair. Before that, each side works for ``busy`` seconds.

    Raises ``timing.WorkerDroppedError`` if a side cannot go on.
    """
    sides = {"A": base, "B": head}
    warm = {}
    for name in rng.sample(list(sides), 2):
        warm[name] = schedule.warm_up(sides[name], clock, WARM_UP, busy)
        if (gone := warm[name].dropped) is not None:
            raise gone
    plans = _plans({name: timing.plan for name, timing in warm.items()})
    found = Measured(calls=max(plan.calls for plan in plans.values()))
    while not quads.enough(found.quads):
        order = rng.choice(quads.ORDERS)
        times: dict[str, list[float]] = {"A": [], "B": []}
        for name in order:
            samples = sides[name].block(plans[name].calls, plans[name].samples)
            times[name].append(float(np.quantile(samples, QUARTILE)))
        found.orders.append(order)
        found.base += times["A"]
        found.head += times["B"]
        found.quads.append(float(quads.quad(times["A"], times["B"])))
    found.held = tuple(dict.fromkeys(reason for side in sides.values() for reason in side.held))
    found.clock = _clock(base.mhz, head.mhz)
    return found


def _plans(warm: dict[str, schedule.Plan]) -> dict[str, schedule.Plan]:
    """Return the plan of each side's blocks: the same for both, unless one is several times as fast.
    Then the blocks of the other would take several times as long.
    """
    calls = {name: plan.calls * plan.samples for name, plan in warm.items()}
    larger = warm[max(calls, key=lambda name: calls[name])]
    alike = max(calls.values()) <= UNLIKE * min(calls.values())
    return {name: shorter(larger if alike else plan) for name, plan in warm.items()}


def _clock(base: list[int], head: list[int]) -> float:
    """Return ln(head/base) of the clocks after each side's blocks. Return 0 if they are not known."""
    return float(np.log(np.mean(head) / np.mean(base))) if base and head else 0.0


def shorter(plan: schedule.Plan) -> schedule.Plan:
    """Return the plan for a block of the gate, from the plan for a block of
    ``timing.BLOCK_SECONDS``.
    """
    share = BLOCK / schedule.BLOCK_SECONDS
    return schedule.Plan(
        plan.calls, max(min(FEWEST_SAMPLES, plan.samples), round(plan.samples * share))
    )
