"""A clock that counts the work that is done. Models that tell their work take the same time on every
machine, however busy it is.

Only the model of a test imports this, in its worker, where it takes the place of the processor's
clock. All else of a gate is real. The audit of times names such a clock, so the project needs the
conftest.py of ``tests.support.project.PLAYED``.
"""

from __future__ import annotations

import random

from paritygate.runtime.devices.cpu import Cpu

READING = 1e-6  # seconds that a look at the clock takes: who waits for a time must come to an end
SPREAD = 0.002  # of the same work, as a share


class Clock:
    """The seconds of work so far."""

    now = 0.0


def read() -> float:
    """Return the time."""
    Clock.now += READING
    return Clock.now


def work(seconds: float) -> None:
    """Do so much work."""
    Clock.now += seconds * random.uniform(1 - SPREAD, 1 + SPREAD)


Cpu.clock = staticmethod(read)
