"""A parked worker as timing sees it: one block at a time, awake only for it."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

from bench import timing
from bench.launch import Ended, Worker

BLOCK_DEADLINE = 30.0  # beyond ten times what is expected: a machine that others use can stall a team of threads


class Contestant:
    """A parked worker as timing sees it. ``planted``: by what share its calls are made slower, on purpose."""

    def __init__(self, worker: Worker, planted: float = 0.0) -> None:
        self.worker, self.planted = worker, planted
        self.seconds_per_call: float | None = None
        self.rng = random.Random()  # which timed answer is checked must not be foreseeable

    def block(self, calls: int, samples: int) -> Sequence[float]:
        """One block in the worker, which is awake only for it."""
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
