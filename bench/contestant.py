"""A parked worker as timing sees it: one block at a time, awake only for it, and again where the device was cut."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bench import timing
from bench.launch import Ended, Worker

BLOCK_DEADLINE = 30.0  # beyond ten times what is expected: a machine that others use can stall a team of threads
REPLACED = 3  # times that a block is measured again


class Contestant:
    """A parked worker as timing sees it. ``planted``: by what share its calls are made slower, on purpose.

    A block at whose end the device's clock was held down is measured again, and ``replaced`` counts the reasons. One
    that is held down each time counts, its reasons in ``held``; as long as that lasts blocks are not measured again:
    it is how the device is then, not a disturbance. ``mhz`` is the clock at the end of each block that counts, where
    the device tells it. A warm-up leaves nothing in either.
    """

    def __init__(self, worker: Worker, planted: float = 0.0) -> None:
        self.worker, self.planted = worker, planted
        self.replaced: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self._capped = False
        self.mhz: list[int] = []
        self.seconds_per_call: float | None = None
        self.rng = random.Random()  # which timed answer is checked must not be foreseeable

    def block(self, calls: int, samples: int) -> Sequence[float]:
        """One block in the worker, which is awake only for it."""
        found = self._block(calls, samples)
        for _ in range(0 if self._capped else REPLACED):
            if not found.get("throttled"):
                break
            self.replaced.update(found["throttled"])
            found = self._block(calls, samples)
        self._capped = bool(found.get("throttled"))
        self.held.update(found.get("throttled", ()))
        if found.get("mhz") is not None:
            self.mhz.append(found["mhz"])
        times: list[float] = found["times"]
        return times

    def _block(self, calls: int, samples: int) -> dict[str, Any]:
        deadline = BLOCK_DEADLINE
        if self.seconds_per_call is not None:
            deadline += 10 * self.seconds_per_call * (calls * samples + 1)
        request = {"op": "block", "calls": calls, "samples": samples, "keep": self.rng.randrange(samples),
                   "planted": self.planted}  # fmt: skip
        try:
            found = self.worker.ask(request, deadline)
        except Ended as end:
            self.worker.close()
            raise timing.Dropped(end) from end
        self.worker.park()
        self.seconds_per_call = statistics.median(found["times"])
        return found
