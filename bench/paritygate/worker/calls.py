"""Calls: tells the pytest process how many calls were made, and how many seconds those to come may
take.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from paritygate.process.protocol import Stage

Say = Callable[..., object]
PATIENCE = 4.0  # times the seconds that calls to come are expected to take
SLOW = 0.1  # seconds of a call from which on each is told of


class Calls:
    """The calls of one request. ``seconds``: that one takes, once it is known; where some take
    longer, that counts.
    """

    def __init__(self, say: Say, seconds: float = 0.0) -> None:
        self._say, self.made, self.left, self.seconds = say, 0, 0, seconds

    def begin(self, stage: Stage, calls: int, times: float = 1.0, detail: str = "") -> None:
        """So many calls follow, each ``times`` as long as was measured."""
        self.stage, self.left, self._since = stage, calls, time.monotonic()
        self.detail = detail
        self._told = PATIENCE * times * self.seconds
        self._say(stage, detail, calls=self.made, seconds=self.left * self._told)

    def done(self) -> None:
        """One of them is made."""
        self.made, self.left = self.made + 1, self.left - 1
        now = time.monotonic()
        took, self._since = now - self._since, now
        self._told = max(self._told, PATIENCE * took)
        if max(self.seconds, took) > SLOW:
            patience = max(self.left, 1) * self._told
            self._say(self.stage, self.detail, calls=self.made, seconds=patience)
