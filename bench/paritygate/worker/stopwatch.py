"""Stopwatch: the timed loop of a worker, and measurements by the device's own clock and counter.

This one loop times all backends. There are two clocks. The host's clock runs from before the first
call of a sample until the device has finished the last. For operators with a cold cache the
device's own clock runs between two marks in its queue.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from paritygate.runtime.devices import Device

SETTLE_SECONDS = 0.010  # calls in this time after a stop do not count: caches are cold, pools sleep
# calls between two looks at the clock while energy is counted, so that the device has work queued
QUEUED_CALLS = 8
MOST_FLUSHES = 512  # a stream takes about a thousand launches, then the host waits


def settle(device: Device, call: Callable[[], object]) -> None:
    """Call until caches are warm and pools are awake."""
    settled = device.clock() + SETTLE_SECONDS
    while True:
        call()
        device.synchronize()
        if device.clock() >= settled:
            break


class Stopwatch:
    """Times ``call`` on a device, rotating over ``feeds``. ``cold_cache``: flush the device's cache
    before each call, if it can.
    """

    def __init__(
        self,
        device: Device,
        call: Callable[[Any], Any],
        feeds: Sequence[Any],
        cold_cache: bool = False,
    ) -> None:
        self.device, self.call, self.feeds, self.cold_cache = device, call, feeds, cold_cache
        self.turn = 0

    def block(
        self, calls: int, samples: int, keep: int, planted: float, read: Callable[[Any], Any]
    ) -> tuple[list[float], Any, int, dict[str, Any]]:
        """Time ``samples`` samples of ``calls`` calls. Return the seconds per call of each sample,
        the last answer of sample ``keep``, the number of its feed, and the device's clock state
        after the last sample.

        ``read`` copies the answer before the next call may write to its memory. ``planted``: after
        every sample, spin for that share of it. This shows whether a slowdown of that size is
        found.
        """
        times, kept, seen = [0.0] * samples, (None, 0), {}
        settle(self.device, self._next)
        measured = self._cold if self.cold_cache and self.device.flush() else self._warm
        for sample in range(samples):
            times[sample], raw = measured(calls, planted)
            if sample == samples - 1:
                seen = self.device.clock_state()  # at once: a GPU's clock falls while it waits
            if sample == keep:
                kept = (read(raw), (self.turn - 1) % len(self.feeds))
        return [seconds / calls for seconds in times], *kept, seen

    def claimed(self, calls: int, samples: int) -> float:
        """Return the sum of the seconds of some samples by the host's clock, and do nothing else."""
        return sum(self._warm(calls, 0.0)[0] for _ in range(samples))

    def device_seconds(self) -> float:
        """Return the device's seconds of a call whose work is all queued before it begins. It is
        the median of five.

        Flushing the cache keeps the device busy meanwhile, for three times as long as a call takes
        by the host's clock. If the timed calls find the cache warm, a call before the marks warms
        it again.
        """
        device = self.device
        start = device.clock()
        self.call(self.feeds[0])
        device.synchronize()
        wall, begun = device.clock() - start, device.mark()
        device.flush()
        ended = device.mark()
        device.synchronize()
        flushes = 1 + int(3 * wall / max(device.elapsed(begun, ended), 1e-6))
        found = []
        for number in range(5):
            for _ in range(min(flushes, MOST_FLUSHES)):
                device.flush()
            if not self.cold_cache:
                self.call(self.feeds[number % len(self.feeds)])
            begun = device.mark()
            self.call(self.feeds[number % len(self.feeds)])
            ended = device.mark()
            device.synchronize()
            found.append(device.elapsed(begun, ended))
        return statistics.median(found)

    def joules(self, seconds: float) -> float | None:
        """Return the joules of a call, by the device's counter over so many seconds of calls.
        Return None without a counter.
        """
        device, before = self.device, self.device.joules()
        if before is None:
            return None
        calls, over = 0, device.clock() + seconds
        while device.clock() < over:
            for _ in range(QUEUED_CALLS):
                self.call(self.feeds[calls % len(self.feeds)])
                calls += 1
            device.synchronize()
        after = device.joules()
        return None if after is None else (after - before) / calls

    def _next(self) -> None:
        self.call(self.feeds[self.turn % len(self.feeds)])
        self.turn += 1

    def _warm(self, calls: int, planted: float) -> tuple[float, Any]:
        """Return the seconds of some calls by the host's clock, and the last answer."""
        clock, call, feeds, count = self.device.clock, self.call, self.feeds, len(self.feeds)
        turn, raw = self.turn, None
        start = clock()
        for _ in range(calls):
            raw = call(feeds[turn % count])
            turn += 1
        self.device.synchronize()
        if planted:
            self._spin(planted * (clock() - start))
        seconds = clock() - start
        self.turn = turn
        return seconds, raw

    def _cold(self, calls: int, planted: float) -> tuple[float, Any]:
        """Return the device's own seconds of some calls that each find its cache flushed, and the
        last answer.

        The marks exclude the flushing. While it runs, the next call is queued, as in
        ``triton.testing.do_bench``. The planted share is time in which the device waits for the
        host.
        """
        device, marks, raw = self.device, [], None
        for number in range(self.turn, self.turn + calls):
            device.flush()
            begun = device.mark()
            raw = self.call(self.feeds[number % len(self.feeds)])
            ended = device.mark()
            if planted:
                device.synchronize()
                self._spin(planted * device.elapsed(begun, ended))
                ended = device.mark()
            marks.append((begun, ended))
        device.synchronize()
        self.turn += calls
        return sum(device.elapsed(begun, ended) for begun, ended in marks), raw

    def _spin(self, seconds: float) -> None:
        """Spin for so many seconds, without sleeping: the scheduler must not be involved."""
        over = self.device.clock() + seconds
        while self.device.clock() < over:
            pass
