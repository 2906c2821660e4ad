"""TimedWorker: a parked worker that is timed block by block. It runs only during a block."""

from __future__ import annotations

import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from paritygate.core.reasons import listed
from paritygate.core.record import Status
from paritygate.process.client import Worker, WorkerError
from paritygate.process.protocol import (
    AuditClock,
    AuditWork,
    Block,
    Clocked,
    Finish,
    Stage,
    Timed,
)
from paritygate.timing import schedule

# seconds beyond ten times the expected time: other programs on the machine can stall a team of threads
BLOCK_DEADLINE = 30.0
SLOW_CALL = 1.0  # seconds; a faster first call mostly loads and allocates, and sets no deadline
# calls of a block that do not count: to settle, and to answer again from the initial state
BESIDE = 3
FINISHING = 20  # calls after the last block, at most: the device's own seconds, and joules
REPLACED = 3  # times that a block is measured again
AUDITED = 100  # calls of the audit, at most
AUDIT_SECONDS = 0.02  # of calls, by which a clock is judged
LOOKS = 8  # at a clock that seems wrong: on a busy machine messages are late
# of the seconds between two messages, which may be beside the calls; and seconds for the messages
CLOCK_SHARE, CLOCK_SECONDS = 0.1, 0.005
CLOCK_DRIFT = 0.01  # share by which two clocks of one machine may run apart


def clock_problem(found: Clocked, seconds: float) -> str:
    """Return how a worker's clock differs from this process's clock, or "".

    ``seconds``: from the request to the answer. The calls took no longer, and some messages less.
    """
    if found.replaced:
        return f"replaces {listed(found.replaced)}, so its times are not the seconds that it took"
    beside = seconds - found.seconds
    if -CLOCK_DRIFT * seconds <= beside <= CLOCK_SHARE * seconds + CLOCK_SECONDS:
        return ""
    return (
        f"its clock is wrong: by it, calls take {found.seconds:.3g} s that take {seconds:.3g} s by the clock of the "
        "pytest process; the model, or a library that it imports, changes the clock"
    )


class TimedWorker:
    """A parked worker for timing. ``planted``: the share by which its calls are made slower on
    purpose.

    If the device's clock is held down at the end of a block, the block is measured again, and
    ``replaced`` counts the reasons. If it is held down each time, the last block counts, and
    ``held`` counts its reasons. While that lasts, blocks are not measured again: it is then the
    state of the device, not a disturbance.

    ``mhz``: the clock at the end of each block that counts, if the device reports it. A warm-up
    leaves nothing in ``mhz`` and ``held``. The deadline of a block follows from the block before,
    that of the first block from the worker's first call.
    """

    def __init__(self, worker: Worker, planted: float = 0.0) -> None:
        self.worker, self.planted = worker, planted
        self.replaced: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self._capped = False
        self.mhz: list[int] = []
        first = worker.seconds_per_call or 0.0
        self.seconds_per_call = first if first >= SLOW_CALL else 0.0
        self.not_audited: list[str] = []
        self.rng = random.Random()  # nobody must be able to predict which timed answer is checked

    def block(self, calls: int, samples: int) -> Sequence[float]:
        """Run one block in the worker, which is awake only for it."""
        found = self._block(calls, samples)
        for _ in range(0 if self._capped else REPLACED):
            if not found.throttled:
                break
            self.replaced.update(found.throttled)
            found = self._block(calls, samples)
        self._capped = bool(found.throttled)
        self.held.update(found.throttled)
        if found.mhz is not None:
            self.mhz.append(found.mhz)
        return found.times

    def audit(self) -> None:
        """Audit the times of the worker; note in ``not_audited`` what its inputs do not allow.

        Raises ``WorkerDroppedError`` if its clock is wrong, or if its calls do not do the work.
        """
        try:
            if problem := self._clock_problem():
                raise WorkerError(Status.FAILED, problem, Stage.AUDITING)
            self.not_audited = self.worker.ask(AuditWork(), self._patience(AUDITED)).left_out
        except WorkerError as end:
            self.worker.close()
            raise schedule.WorkerDroppedError(end) from end
        self.worker.park()

    def _clock_problem(self) -> str:
        """Return how a worker's clock differs from this process's, or ""."""
        plan = schedule.plan(self.seconds_per_call, AUDIT_SECONDS)
        request, patience = AuditClock(plan.calls, plan.samples), plan.calls * plan.samples
        problem = ""
        for _ in range(LOOKS):
            self.worker.resume()
            asked = time.monotonic()
            found = self.worker.ask(request, self._patience(patience))
            if not (problem := clock_problem(found, time.monotonic() - asked)):
                break
        return problem

    def finish(self, energy_seconds: float) -> dict[str, Any]:
        """Return the facts that the worker collects after its last block. Raises ``WorkerError``."""
        seconds = self._patience(FINISHING) + 2 * energy_seconds
        return self.worker.ask(Finish(energy_seconds), seconds).facts

    def _block(self, calls: int, samples: int) -> Timed:
        request = Block(calls, samples, self.rng.randrange(samples), self.planted)
        try:
            found = self.worker.ask(request, self._patience(calls * samples + BESIDE))
        except WorkerError as end:
            self.worker.close()
            raise schedule.WorkerDroppedError(end) from end
        self.worker.park()
        self.seconds_per_call = statistics.median(found.times)
        return found

    def _patience(self, calls: int) -> float:
        """Return the seconds that so many calls may take."""
        return BLOCK_DEADLINE + 10 * self.seconds_per_call * calls
