"""Devices: clock, memory and facts of the device that a worker measures on. Only this folder may
call a device's API.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from paritygate.runtime.devices.cpu import Cpu
from paritygate.runtime.devices.cuda import Cuda


class Device(Protocol):
    """A device, as the worker uses it. The device owns the clock; backends never choose one."""

    name: str
    # the stream of its work, as a pointer; None where there is none
    stream: int | None

    def guard(self) -> AbstractContextManager[Any]:
        """Return the context for all work on the device: it sets the current stream."""

    def clock(self) -> float:
        """Return the seconds on the clock that all backends are measured with."""

    def synchronize(self) -> None:
        """Wait until all started work has ended."""

    def mark(self) -> Any:
        """Return the present point in the device's own queue of work."""

    def elapsed(self, start: Any, end: Any) -> float:
        """Return the seconds from one mark to another, by the device's clock. The device must have
        passed both.
        """

    def flush(self) -> bool:
        """Queue work that overwrites the device's large cache. Return False, with nothing queued,
        on a device without a queue.
        """

    def reset_peak(self) -> None:
        """Start watching the memory peak, from the memory held now."""

    def peak_bytes(self) -> int | None:
        """Return the most memory held at once since ``reset_peak``, above that at the reset; None
        where unknown.
        """

    def held_bytes(self) -> int | None:
        """Return the memory held now; None where unknown."""

    def empty_cache(self) -> None:
        """Free the memory that the allocator keeps for later, so that the next cell has it."""

    def joules(self) -> float | None:
        """Return the energy used so far, counted from some fixed moment; None if the device does
        not report it.
        """

    def clock_state(self) -> dict[str, Any]:
        """Return the clock right after work: ``mhz``, and ``throttled``, the reasons that lower it.
        Empty if the device does not report them.
        """

    def facts(self) -> dict[str, Any]:
        """Return the facts of the device that a later comparison needs."""


DEVICES: dict[str, type[Device]] = {"cpu": Cpu, "cuda": Cuda}
