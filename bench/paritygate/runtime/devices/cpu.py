"""The processor as a device: a call returns when it is done."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any


class Cpu:
    """The processor. Its memory is the worker's resident peak, which the kernel counts (VmHWM)."""

    name = "cpu"
    stream: int | None = None
    clock = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self._start: int | None = None

    def guard(self) -> AbstractContextManager[Any]:
        """Return an empty context."""
        return nullcontext()

    def mark(self) -> float:
        """Return the time: nothing is queued."""
        return self.clock()

    def elapsed(self, start: float, end: float) -> float:
        """Return the difference of two marks."""
        return end - start

    def flush(self) -> bool:
        """Return False: nothing is queued. A model also finds its data in the processor's
        caches.
        """
        return False

    def synchronize(self) -> None:
        """Do nothing: a call returns when it is done."""

    def reset_peak(self) -> None:
        """Reset VmHWM to the resident size now."""
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # Documentation/filesystems/proc.rst
        self._start = _resident_peak()

    def peak_bytes(self) -> int | None:
        """Return VmHWM above its value at ``reset_peak``."""
        now = _resident_peak()
        return None if now is None or self._start is None else max(0, now - self._start)

    def held_bytes(self) -> int | None:
        """Return VmRSS."""
        return _status("VmRSS")

    def empty_cache(self) -> None:
        """Do nothing: a cell's process frees all its memory when it ends."""

    def joules(self) -> float | None:
        """Return None: not every processor reports it, and reading it needs special rights."""
        return None

    def clock_state(self) -> dict[str, Any]:
        """Return an empty dict: ``paritygate.host.monitor`` counts how often the clock was cut."""
        return {}

    def facts(self) -> dict[str, Any]:
        """Return the vector instructions that torch uses here."""
        import torch

        return {"cpu_capability": torch.backends.cpu.get_cpu_capability()}


def _resident_peak() -> int | None:
    """Return the process's peak resident size in bytes."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status("VmHWM")


def _status(name: str) -> int | None:
    """Return a line of the kernel's status of this process, in bytes; None if there is none."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
