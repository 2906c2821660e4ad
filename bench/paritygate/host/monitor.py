"""Monitor of the machine during a measurement: stolen time, load of other processes, heat, GPUs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from paritygate.host import machine, nvml
from paritygate.timing import diagnostics


class Watch:
    """Records the state of the machine from its creation to ``conditions()``. ``pids``: the
    measuring processes, whose time is not foreign.

    GPUs are read at the start, in ``conditions()``, and at every call of ``look()`` in between,
    since their state holds for a moment only.
    """

    def __init__(self, pids: list[int], gpus: Sequence[nvml.Reader] = ()) -> None:
        self.pids: list[int | str] = [*pids, "self"]
        self.gpus = gpus
        self.gpu_throttled: dict[str, None] = {}
        self.gpu_foreign: set[int] = set()
        self.gpu_lost = ""
        self.look()
        self.processors = machine.processor_times()
        self.throttles = machine.throttles()
        self.busy, self.own = machine.busy_time(), self._own()

    def look(self) -> None:
        """Read the state of the GPUs."""
        for gpu in self.gpus:
            try:
                reading = gpu.read()
            except nvml.GpuLostError as lost:
                self.gpu_lost = str(lost)
                continue
            self.gpu_throttled |= dict.fromkeys(reading.throttled or ())
            self.gpu_foreign |= {pid for pid in reading.processes if self._foreign(pid)}

    def conditions(self) -> diagnostics.Conditions:
        """Return the shares since the start, and the states of the GPUs."""
        now = machine.processor_times()
        total = max(1, now[1] - self.processors[1])
        foreign = (machine.busy_time() - self.busy) - (self._own() - self.own)
        steal = machine.steal(self.processors, now)
        throttled = machine.throttles() - self.throttles
        self.look()
        return diagnostics.Conditions(
            steal,
            max(0.0, foreign / total),
            throttled,
            gpu_throttled=tuple(self.gpu_throttled),
            gpu_foreign=len(self.gpu_foreign),
            gpu_lost=self.gpu_lost,
        )

    def _own(self) -> int:
        return sum(machine.process_time(pid) for pid in self.pids)

    def _foreign(self, pid: int) -> bool:
        """Return whether a process is neither a measuring one nor a child of this one.

        A pid that does not exist here is not foreign. Its process has ended, or it is the host's
        pid of one of our processes, which an older driver reports inside a container.
        """
        try:
            os.kill(pid, 0)  # sends nothing; sees what a /proc with hidepid hides
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        while pid > 1:
            if pid == os.getpid() or pid in self.pids:
                return False
            pid = _parent(pid)
        return True


def _parent(pid: int) -> int:
    """Return the process that started this one, or 0."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
