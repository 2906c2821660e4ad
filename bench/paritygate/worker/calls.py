"""Calls: report to the pytest process how many calls were made, and how many seconds the next ones
may take.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from paritygate.process.protocol import Stage

Say = Callable[..., object]
PATIENCE = 4.0  # calls may take this many times the expected seconds
SLOW = 0.1  # seconds; from here on each call is reported


class Calls:
    """The calls of one request.

    ``seconds``: the time of one call, once it is known. If some calls take longer, the longer time
    counts.
    """

    def __init__(self, say: Say, seconds: float = 0.0) -> None:
        self._say, self.made, self.left, self.seconds = say, 0, 0, seconds

    def begin(self, stage: Stage, calls: int, times: float = 1.0, detail: str = "") -> None:
        """Announce that so many calls follow, each ``times`` as long as measured."""
        self.stage, self.left, self._since = stage, calls, time.monotonic()
        self.detail = detail
        self._allowed = PATIENCE * times * self.seconds
        self._say(stage, detail, calls=self.made, seconds=self.left * self._allowed)

    def done(self) -> None:
        """Note that one of them is made."""
        self.made, self.left = self.made + 1, self.left - 1
        now = time.monotonic()
        took, self._since = now - self._since, now
        self._allowed = max(self._allowed, PATIENCE * took)
        if max(self.seconds, took) > SLOW:
            patience = max(self.left, 1) * self._allowed
            self._say(self.stage, self.detail, calls=self.made, seconds=patience)
