"""Stand-ins without torch and processes: a clock that is told the time, a timed worker that knows its
times.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

from paritygate.host.monitor import Watch
from paritygate.host.nvml import Reading
from paritygate.timing import schedule
from paritygate.timing.diagnostics import Conditions

MIB = 1 << 20


class FakeClock:
    """Seconds that pass only when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeTimedWorker:
    """Takes ``seconds(block number)`` a call, lets the clock run, notes in ``log`` when it had its
    turn.

    ``gone``: the number of the block in which it drops out. ``clocks``: block number -> MHz of its
    device after it.
    ``cut``: block number -> what holds that clock down.
    """

    def __init__(
        self,
        seconds: float | Callable[[int], float],
        clock: FakeClock | None = None,
        *,
        name: str = "",
        log: list[str] | None = None,
        gone: int | None = None,
        clocks: Callable[[int], int] | None = None,
        cut: Callable[[int], Sequence[str]] = lambda number: (),
    ) -> None:
        self.seconds = seconds if callable(seconds) else lambda _: seconds
        self.clock = clock or FakeClock()
        self.name, self.log, self.gone = name, [] if log is None else log, gone
        self.plans: list[schedule.Plan] = []
        self.mhz: list[int] = []
        self.clocks, self.cut = clocks, cut
        self.held: Counter[str] = Counter()

    def block(self, calls: int, samples: int) -> Sequence[float]:
        number = len(self.plans)
        if number == self.gone:
            raise schedule.WorkerDroppedError(f"{self.name} is gone")
        self.plans.append(schedule.Plan(calls, samples))
        self.log.append(self.name)
        if self.clocks is not None:
            self.mhz.append(self.clocks(number))
        self.held.update(self.cut(number))
        each = self.seconds(number)
        self.clock.now += each * calls * samples
        return [each] * samples


def cycle(*values: float) -> Callable[[int], float]:
    """The values one after the other, again and again."""
    endless = itertools.cycle(values)
    return lambda _: next(endless)


class FakeGpuReader:
    """Gives one reading of a GPU after the other, the last again and again; raises one that is an
    exception.
    """

    def __init__(self, *readings: Reading | Exception) -> None:
        self.readings = list(readings)

    def read(self) -> Reading:
        found = self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]
        if isinstance(found, Exception):
            raise found
        return found


def watched(*gpus: FakeGpuReader, looks: int = 0, pids: Sequence[int] = ()) -> Conditions:
    """What is seen of GPUs from their first reading to their last, with ``looks`` in between."""
    watching = Watch(list(pids), gpus)
    for _ in range(looks):
        watching.look()
    return watching.conditions()


class FakeDevice:
    """A device that works asynchronously, like a GPU: time passes only for who waits for it.

    What is launched is queued and runs one after the other; a mark is the moment at which all
    before it will be done.
    """

    name = "fake"
    stream = 4711

    def __init__(self, flush_seconds: float = 0.0, watts: float | None = None) -> None:
        self.clock = FakeClock()
        self.done = 0.0  # the moment at which the queue will be empty
        self.waits = 0
        self.flushes = 0
        self.flush_seconds, self.watts = flush_seconds, watts

    def launch(self, seconds: float) -> None:
        """Queue work of that length; returns at once."""
        self.done = max(self.done, self.clock.now) + seconds

    def guard(self):
        return nullcontext()

    def synchronize(self) -> None:
        self.clock.now = max(self.clock.now, self.done)
        self.waits += 1

    def mark(self) -> float:
        return max(self.done, self.clock.now)

    def elapsed(self, start: float, end: float) -> float:
        return end - start

    def flush(self) -> bool:
        self.flushes += 1
        self.launch(self.flush_seconds)
        return self.flush_seconds > 0

    def reset_peak(self) -> None:
        """There is no memory to watch."""

    def peak_bytes(self) -> None:
        return None

    def held_bytes(self) -> None:
        return None

    def empty_cache(self) -> None:
        """Nothing is kept."""

    def clock_state(self):
        return {"mhz": 1980, "throttled": []}

    def joules(self) -> float | None:
        return None if self.watts is None else self.watts * self.clock.now

    def facts(self) -> dict[str, str]:
        return {"device": "fake"}


class FakeTorchCuda:
    """``torch.cuda`` with one GPU of 80 GB: what is queued on its stream takes time, memory is a
    number.
    """

    def __init__(self):
        self.log, self.used, self.allocated, self.milliseconds = [], 1000 * MIB, 0, 0.0

    def init(self):
        self.log.append("init")

    def _stream(self):
        return SimpleNamespace(cuda_stream=4711)

    @contextmanager
    def stream(self, stream):
        self.log.append(f"guarding {stream.cuda_stream}")
        yield

    def _event(self, enable_timing):
        assert enable_timing, "else elapsed_time() raises"
        return FakeEvent(self)

    Stream, Event = _stream, _event  # classes in torch

    def synchronize(self):
        self.log.append("synchronize")

    def empty_cache(self):
        self.log.append("empty_cache")

    def reset_peak_memory_stats(self):
        self.log.append("reset_peak_memory_stats")

    def mem_get_info(self):
        return 80_000 * MIB - self.used, 80_000 * MIB

    def memory_allocated(self):
        return self.allocated

    def max_memory_allocated(self):
        return 3 * MIB

    def get_device_properties(self, number):
        assert number == 0, "CUDA_VISIBLE_DEVICES has chosen"
        return SimpleNamespace(
            name="NVIDIA H200",
            uuid="1234-abcd",
            major=9,
            minor=0,
            total_memory=80_000 * MIB,
            multi_processor_count=132,
        )


class FakeEvent:
    """A moment in the queue; ``record`` refuses any other stream than ours."""

    def __init__(self, api):
        self._api = api

    def record(self, stream):
        assert stream.cuda_stream == 4711
        self.at = self._api.milliseconds

    def elapsed_time(self, end):
        return end.at - self.at


def subject(name="onnxruntime", device="cpu", dtype="fp32", stream=4711, shape="b5"):
    """What a backend asks of a subject before it has a model."""
    return SimpleNamespace(
        backend=name, device=device, dtype_name=dtype, stream=stream, shape=shape
    )
