"""A parked worker as timing sees it: one block at a time, awake only for it, and again where the device was cut."""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from bench import timing
from bench.launch import Ended, Worker
from bench.nvml import GpuLost, Reading, by_uuid

BLOCK_DEADLINE = 30.0  # beyond ten times what is expected: a machine that others use can stall a team of threads


REPLACED = 3  # times that a block is measured again; a device that is always too hot must not be waited for


class Contestant:
    """A parked worker as timing sees it. ``planted``: by what share its calls are made slower, on purpose.

    ``gauge`` is read after every block, never inside. A block after which it tells that the device's clock was held
    down is measured again, and ``replaced`` counts the reasons; ``mhz`` is the clock after each block that counts.
    """

    def __init__(self, worker: Worker, planted: float = 0.0, gauge: Callable[[], Reading] = Reading) -> None:
        self.worker, self.planted, self.gauge = worker, planted, gauge
        self.replaced: Counter[str] = Counter()
        self.mhz: list[int] = []
        self.seconds_per_call: float | None = None
        self.rng = random.Random()  # which timed answer is checked must not be foreseeable

    def block(self, calls: int, samples: int) -> Sequence[float]:
        """One block in the worker, which is awake only for it."""
        for left in range(REPLACED, -1, -1):
            times, seen = self._block(calls, samples), self.gauge()
            if not seen.throttled or not left:
                break
            self.replaced.update(seen.throttled)
        if seen.sm_mhz is not None:
            self.mhz.append(seen.sm_mhz)
        return times

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


def gauge_of(uuid: str | None) -> Callable[[], Reading]:
    """What is read between blocks on the GPU of that uuid; nothing, where there is none or NVML does not know it."""
    try:
        gpu = by_uuid(uuid) if uuid else None
    except LookupError:
        gpu = None
    if gpu is None:
        return Reading

    def read() -> Reading:
        with suppress(GpuLost):  # the worker that runs on it will tell
            return gpu.read()
        return Reading()

    return read
