"""A parked worker as timing sees it: one block at a time, awake only for it, and again where the device was cut."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Callable, Sequence

from bench import timing
from bench.launch import Ended, Worker

BLOCK_DEADLINE = 30.0  # beyond ten times what is expected: a machine that others use can stall a team of threads


REPLACED = 3  # times that a block is measured again; a device that is always too hot must not be waited for


class Contestant:
    """A parked worker as timing sees it. ``planted``: by what share its calls are made slower, on purpose.

    ``gauge`` is read after every block, never inside: it tells why the device's clock was cut, or "". Such a block is
    measured again, and ``replaced`` counts the reasons.
    """

    def __init__(self, worker: Worker, planted: float = 0.0, gauge: Callable[[], str] = str) -> None:
        self.worker, self.planted, self.gauge = worker, planted, gauge
        self.replaced: Counter[str] = Counter()
        self.seconds_per_call: float | None = None
        self.rng = random.Random()  # which timed answer is checked must not be foreseeable

    def block(self, calls: int, samples: int) -> Sequence[float]:
        """One block in the worker, which is awake only for it."""
        for _ in range(REPLACED):
            times = self._block(calls, samples)
            if not (why := self.gauge()):
                return times
            self.replaced[why] += 1
        return self._block(calls, samples)

    def _block(self, calls: int, samples: int) -> Sequence[float]:
        deadline = BLOCK_DEADLINE
        if self.seconds_per_call is not None:
            deadline += 10 * self.seconds_per_call * (calls * samples + 1)
        request = {"op": "block", "calls": calls, "samples": samples, "keep": self.rng.randrange(samples),
                   "planted": self.planted}  # fmt: skip
        try:
            times: list[float] = self.worker.ask(request, deadline)["times"]
        except Ended as end:
            self.worker.close()
            raise timing.Dropped(end) from end
        self.worker.park()
        self.seconds_per_call = statistics.median(times)
        return times
