"""Devices: what a worker must know of the thing it measures on. The only file that may speak to a device's API."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol


class Device(Protocol):
    """A device as the worker sees it. The device owns the clock; backends never choose one."""

    name: str

    def clock(self) -> float:
        """Seconds on the clock that all backends are measured with."""

    def synchronize(self) -> None:
        """Return when everything that was started has ended."""

    def reset_peak(self) -> None:
        """Begin to watch memory anew, from what is held now."""

    def peak_bytes(self) -> int | None:
        """The most memory held at once since ``reset_peak``, above what was held then; None where unknown."""

    def held_bytes(self) -> int | None:
        """The memory held now; None where unknown."""

    def empty_cache(self) -> None:
        """Give back what the allocator keeps for later, so that the next cell has it."""

    def facts(self) -> dict[str, Any]:
        """What a later comparison must know of it."""


class Cpu:
    """The processor. Memory is the worker's resident peak, of which the kernel keeps account (VmHWM)."""

    name = "cpu"
    clock = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self._start: int | None = None

    def synchronize(self) -> None:
        """Nothing to wait for: a call returns when it is done."""

    def reset_peak(self) -> None:
        """Set VmHWM back to what is resident now."""
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # Documentation/filesystems/proc.rst
        self._start = _resident_peak()

    def peak_bytes(self) -> int | None:
        """VmHWM above its value at ``reset_peak``."""
        now = _resident_peak()
        return None if now is None or self._start is None else max(0, now - self._start)

    def held_bytes(self) -> int | None:
        """VmRSS."""
        return _status("VmRSS")

    def empty_cache(self) -> None:
        """Nothing: a cell's process gives back all it had when it ends."""

    def facts(self) -> dict[str, Any]:
        """The vector instructions that torch uses here."""
        import torch

        return {"cpu_capability": torch.backends.cpu.get_cpu_capability()}


def _resident_peak() -> int | None:
    """The process's peak resident size in bytes."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status("VmHWM")


def _status(name: str) -> int | None:
    """A line of the kernel's account of this process, in bytes; None where it keeps none."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


DEVICES: dict[str, type[Device]] = {"cpu": Cpu}
