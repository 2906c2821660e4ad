"""Devices: what a worker must know of the thing it measures on. The only folder that may speak to a
device's API.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from paritygate.runtime.devices.cpu import Cpu
from paritygate.runtime.devices.cuda import Cuda


class Device(Protocol):
    """A device as the worker sees it. The device owns the clock; backends never choose one."""

    name: str
    # what its work is queued on, as a pointer; None where there is no such thing
    stream: int | None

    def guard(self) -> AbstractContextManager[Any]:
        """Entered around everything that works on it: the current stream."""

    def clock(self) -> float:
        """Seconds on the clock that all backends are measured with."""

    def synchronize(self) -> None:
        """Return when everything that was started has ended."""

    def mark(self) -> Any:
        """A moment in the device's own order of work: now."""

    def elapsed(self, start: Any, end: Any) -> float:
        """Seconds from one mark to another, by the device's clock, once it has passed both."""

    def flush(self) -> bool:
        """Queue work that overwrites the device's large cache; False, and nothing queued, where it
        works as we wait.
        """

    def reset_peak(self) -> None:
        """Begin to watch memory anew, from what is held now."""

    def peak_bytes(self) -> int | None:
        """The most memory held at once since ``reset_peak``, above what was held then; None where
        unknown.
        """

    def held_bytes(self) -> int | None:
        """The memory held now; None where unknown."""

    def empty_cache(self) -> None:
        """Give back what the allocator keeps for later, so that the next cell has it."""

    def joules(self) -> float | None:
        """The energy that it has used so far, counted from some moment; None where it does not
        tell.
        """

    def gauge(self) -> dict[str, Any]:
        """How it is while it still feels its work: ``mhz`` and by what names it is ``throttled``,
        where it tells.
        """

    def facts(self) -> dict[str, Any]:
        """What a later comparison must know of it."""


DEVICES: dict[str, type[Device]] = {"cpu": Cpu, "cuda": Cuda}
