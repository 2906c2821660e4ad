"""What the machine did while something was measured: what the hypervisor stole, what others used, heat."""

from __future__ import annotations

from bench import advice, machine


class Watch:
    """Looks from here to ``conditions()``; ``pids`` are the measuring processes, whose time is not foreign."""

    def __init__(self, pids: list[int]) -> None:
        self.pids: list[int | str] = [*pids, "self"]
        self.processors = machine.processor_times()
        self.throttles = machine.throttles()
        self.busy, self.own = machine.busy_time(), self._own()

    def conditions(self) -> advice.Conditions:
        """The shares since this was made."""
        now = machine.processor_times()
        total = max(1, now[1] - self.processors[1])
        foreign = (machine.busy_time() - self.busy) - (self._own() - self.own)
        steal = machine.steal(self.processors, now)
        return advice.Conditions(steal, max(0.0, foreign / total), machine.throttles() - self.throttles)

    def _own(self) -> int:
        return sum(machine.process_time(pid) for pid in self.pids)
