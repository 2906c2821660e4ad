"""The processor as a device: its clock runs on, and a call returns when it is done."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any


class Cpu:
    """The processor. Memory is the worker's resident peak, of which the kernel keeps account
    (VmHWM).
    """

    name = "cpu"
    stream: int | None = None
    clock = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self._start: int | None = None

    def guard(self) -> AbstractContextManager[Any]:
        """Nothing."""
        return nullcontext()

    def mark(self) -> float:
        """The clock: nothing is queued."""
        return self.clock()

    def elapsed(self, start: float, end: float) -> float:
        """The difference."""
        return end - start

    def flush(self) -> bool:
        """False: nothing is queued, and what the processor's caches hold a model finds in them as
        well.
        """
        return False

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

    def joules(self) -> float | None:
        """None: not every processor tells, and reading it takes rights."""
        return None

    def gauge(self) -> dict[str, Any]:
        """Nothing: the kernel counts how often the processor was cut
        (``paritygate.host.monitor``).
        """
        return {}

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
