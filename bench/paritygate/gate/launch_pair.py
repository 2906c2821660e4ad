"""One launch pair of one cell: warm both sides up, then ABBA quads until the pair's own spread is
small enough.
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
# After the same seconds, quads of short blocks valued by the lower quartile of their samples spread
# 0.4 to 0.9 times as far as those of 50 ms and the median (two runs of python -m
# bench.evidence.blocks on a noisy host): neighbours make samples slower and never faster, and come
# and go within some 100 ms.
BLOCK = 0.02  # seconds
FEWEST_SAMPLES = 3
QUARTILE = 0.25


@dataclass
class Measured:
    """Quads of one launch pair; blocks in seconds per call. ``orders`` tells which quads ran
    BAAB.
    """

    quads: list[float] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    base: list[float] = field(default_factory=list)
    head: list[float] = field(default_factory=list)
    calls: int = 1  # in a sample
    held: tuple[str, ...] = ()  # what held the device's clock down in blocks that count
    clock: float = 0.0  # ln(head/base) of the device's clock after the blocks of the quads; 0 where it tells none

    @property
    def d(self) -> float:
        """ln(head/base): the launch pair's one number."""
        return float(quads.trimmed_mean(self.quads))

    @property
    def cycles(self) -> float:
        """ln(head/base) counted in cycles of the device: a second witness, which a lower clock does
        not move.
        """
        return self.d + self.clock

    @property
    def level(self) -> float:
        """How slow the machine was meanwhile: the median block, both sides weighing the same, in
        ln(seconds).
        """
        return float(np.median(np.log(self.base)) + np.median(np.log(self.head))) / 2

    @property
    def within(self) -> float:
        """Its standard error within the launch."""
        return float(quads.standard_error(self.quads))


def measure(
    base: Timeable,
    head: Timeable,
    rng: random.Random,
    clock: Callable[[], float],
    busy: float = 0.0,
) -> Measured:
    """The launch pair's quads, each side having worked for ``busy`` seconds.

    Raises ``timing.WorkerDroppedError`` where a side cannot go on.
    """
    sides = {"A": base, "B": head}
    warm = {}
    for name in rng.sample(list(sides), 2):
        warm[name] = schedule.warm_up(sides[name], clock, WARM_UP, busy)
        if (gone := warm[name].dropped) is not None:
            raise gone
    plan = shorter(
        max((found.plan for found in warm.values()), key=lambda plan: plan.calls * plan.samples)
    )
    found = Measured(calls=plan.calls)
    while not quads.enough(found.quads):
        order = rng.choice(quads.ORDERS)
        times: dict[str, list[float]] = {"A": [], "B": []}
        for name in order:
            times[name].append(
                float(np.quantile(sides[name].block(plan.calls, plan.samples), QUARTILE))
            )
        found.orders.append(order)
        found.base += times["A"]
        found.head += times["B"]
        found.quads.append(float(quads.quad(times["A"], times["B"])))
    found.held = tuple(dict.fromkeys(reason for side in sides.values() for reason in side.held))
    found.clock = _clock(base.mhz, head.mhz)
    return found


def _clock(base: list[int], head: list[int]) -> float:
    """ln(head/base) of the clocks seen after either side's blocks."""
    return float(np.log(np.mean(head) / np.mean(base))) if base and head else 0.0


def shorter(plan: schedule.Plan) -> schedule.Plan:
    """The plan for a block of the gate, from that for one of ``timing.BLOCK_SECONDS``."""
    share = BLOCK / schedule.BLOCK_SECONDS
    return schedule.Plan(
        plan.calls, max(min(FEWEST_SAMPLES, plan.samples), round(plan.samples * share))
    )
