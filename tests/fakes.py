"""Stand-ins without torch and processes: a clock that is told the time, a contestant that knows its times."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from bench import timing


class FakeClock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeContestant:
    """Takes ``seconds(block number)`` a call, lets the clock run, notes in ``log`` when it had its turn.

    ``gone``: the number of the block in which it drops out.
    """

    def __init__(
        self,
        seconds: float | Callable[[int], float],
        clock: FakeClock | None = None,
        *,
        name: str = "",
        log: list[str] | None = None,
        gone: int | None = None,
    ) -> None:
        self.seconds = seconds if callable(seconds) else lambda _: seconds
        self.clock = clock or FakeClock()
        self.name, self.log, self.gone = name, [] if log is None else log, gone
        self.plans: list[timing.Plan] = []

    def block(self, calls: int, samples: int) -> Sequence[float]:
        number = len(self.plans)
        if number == self.gone:
            raise timing.Dropped(f"{self.name} is gone")
        self.plans.append(timing.Plan(calls, samples))
        self.log.append(self.name)
        each = self.seconds(number)
        self.clock.now += each * calls * samples
        return [each] * samples


def cycle(*values: float) -> Callable[[int], float]:
    """The values one after the other, again and again."""
    endless = itertools.cycle(values)
    return lambda _: next(endless)


class FakeDevice:
    """A device that works asynchronously, like a GPU: time passes only for who waits for it."""

    name = "fake"

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pending = 0.0
        self.waits = 0

    def launch(self, seconds: float) -> None:
        """Start work of that length; returns at once."""
        self.pending += seconds

    def synchronize(self) -> None:
        self.clock.now += self.pending
        self.pending = 0.0
        self.waits += 1

    def reset_peak(self) -> None:
        """There is no memory to watch."""

    def peak_bytes(self) -> None:
        return None

    def facts(self) -> dict[str, str]:
        return {"device": "fake"}
