"""Warm-up, block schedule and stop rule, over timed workers. Uses no torch and no process.

The k timed workers (one cell alone, or the backends of a group) are measured interleaved. In every
round each of them runs one block, in random order, while all others are stopped. Drift of the
machine then affects all alike, and ratios are taken within rounds.
"""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

BLOCK_SECONDS = 0.05
SAMPLE_SECONDS = 200e-6  # shorter calls are timed several at once: reading the clock costs 50 ns
SLOW_CALL = 0.1  # seconds; from here on a block may be a single call
KEPT_SAMPLES = 2000
WARM_AGREEMENT = 0.05
WARM_WINDOW = 3
# the device's clocks after those blocks must agree within this; an NVIDIA GPU has steps under 1 %
WARM_CLOCK = 0.02
MIN_ROUNDS = 3
INTERVAL_ROUNDS = 6  # fewer values have no distribution-free 95 % interval of their median


class Timeable(Protocol):
    """A worker that can be timed.

    ``mhz`` holds the device's clock at the end of each block, where the device reports one.
    ``held`` counts the reasons that lowered the clock in those blocks.
    """

    mhz: list[int]
    held: Counter[str]

    def block(self, calls: int, samples: int) -> Sequence[float]:
        """Run ``samples`` samples of ``calls`` calls each and return the seconds per call of every
        sample.

        The first calls after a stop are not timed. An exception ends this timed worker alone.
        """


class WorkerDroppedError(Exception):
    """A timed worker cannot go on."""


@dataclass(frozen=True)
class Plan:
    """The size of a block: ``samples`` samples of ``calls`` calls."""

    calls: int
    samples: int


@dataclass
class Timing:
    """The measurements of one timed worker, in seconds per call. ``dropped``: the error that ended
    it early.
    """

    plan: Plan
    blocks: list[float] = field(default_factory=list)  # mean of each
    rounds: list[int] = field(default_factory=list)  # in which round each block ran
    samples: list[float] = field(default_factory=list)  # a reservoir of at most KEPT_SAMPLES
    seen: int = 0  # all samples, those that the reservoir has dropped included
    stop: str = ""
    dropped: Exception | None = None
    warm: bool = True

    @property
    def spent(self) -> float:
        """Seconds spent in measured blocks."""
        return sum(self.blocks) * self.plan.calls * self.plan.samples


def plan(seconds_per_call: float, block: float = BLOCK_SECONDS) -> Plan:
    """Return the block plan for calls of this length.

    Blocks take about ``block`` seconds and samples at least 200 µs. There are at least 3 samples if
    a call is shorter than 100 ms.
    """
    seconds_per_call = max(seconds_per_call, 1e-9)
    calls = max(1, math.ceil(SAMPLE_SECONDS / seconds_per_call))
    fewest = 1 if seconds_per_call >= SLOW_CALL else 3
    return Plan(calls, max(fewest, round(block / (calls * seconds_per_call))))


def measure(
    timed_workers: Mapping[str, Timeable],
    *,
    seconds: float,
    precision: float,
    rng: random.Random,
    clock: Callable[[], float],
    busy: float = 0.0,
    on_progress: Callable[[float], object] = float,
) -> dict[str, Timing]:
    """Warm up every timed worker, then run rounds until each is precise enough or has used its
    ``seconds``.

    ``busy``: seconds of work that each must have done before it counts as warm. A timed worker
    stays in until all are done, so that every round holds a block of each. ``on_progress`` is
    called with the share that is done, 0 to 1.
    """
    timings: dict[str, Timing] = {}
    for name, timed_worker in timed_workers.items():
        timings[name] = warm_up(timed_worker, clock, limit=max(0.5, 2 * seconds), busy=busy)
    round_number = 0
    while active := [name for name in timings if timings[name].dropped is None]:
        undecided = [name for name in active if not _decide(timings[name], seconds, precision)]
        if not undecided:
            break
        on_progress(min(timings[name].spent / seconds for name in undecided))
        rng.shuffle(active)
        for name in active:
            timing = timings[name]
            try:
                samples = timed_workers[name].block(timing.plan.calls, timing.plan.samples)
            except WorkerDroppedError as why:
                timing.dropped = why
                continue
            timing.blocks.append(statistics.fmean(samples))
            timing.rounds.append(round_number)
            _keep(timing, samples, rng)
        round_number += 1
    return timings


def warm_up(
    timed_worker: Timeable, clock: Callable[[], float], limit: float, busy: float = 0.0
) -> Timing:
    """Run blocks until three medians in a row agree within 5 %, and the device's clock within 2 %.
    Return an empty Timing that holds the block plan.

    ``busy``: at least this many seconds of work come first, since the clocks of a GPU rise under
    load. ``limit``: seconds after that at which warming up ends; the timing is then not ``warm``.
    The worker's ``mhz`` and ``held`` are cleared at the end.
    """
    timing = Timing(Plan(1, 1))
    worked, end = 0.0, clock() + busy + limit
    medians: list[float] = []
    try:
        # the length of the first blocks; refined below
        timing.plan = plan(min(timed_worker.block(1, 1)))
        while True:
            some = max(1, timing.plan.samples // 4)  # enough to see whether it still gets faster
            medians.append(statistics.median(timed_worker.block(timing.plan.calls, some)))
            worked += medians[-1] * timing.plan.calls * some
            timing.plan = plan(min(medians))  # a disturbed block must not make all later ones short
            window = medians[-WARM_WINDOW:]
            agree = len(window) == WARM_WINDOW and max(window) <= min(window) * (1 + WARM_AGREEMENT)
            clocks = timed_worker.mhz[-WARM_WINDOW:]
            steady = not clocks or max(clocks) <= min(clocks) * (1 + WARM_CLOCK)
            if agree and steady and worked >= busy:
                break
            # at least three blocks, even where slow calls make them longer than the limit
            if clock() >= end and len(medians) >= WARM_WINDOW:
                timing.warm = False
                break
    except WorkerDroppedError as why:
        timing.dropped = why
    timed_worker.mhz.clear()  # the worker that is warmed first has a colder device
    timed_worker.held.clear()
    return timing


def _decide(timing: Timing, seconds: float, precision: float) -> bool:
    """Return whether the timing is precise enough or has used its time. Keep the first reason in
    ``stop``.
    """
    if timing.stop:
        return True
    short = (
        timing.blocks
        and timing.blocks[0] * timing.plan.calls * timing.plan.samples < 2 * BLOCK_SECONDS
    )
    # long blocks would cost too much
    if len(timing.blocks) < (INTERVAL_ROUNDS if short else MIN_ROUNDS):
        return False
    bounds = median_interval(timing.blocks)
    if bounds is not None:
        middle = statistics.median(timing.blocks)
        if max(bounds[1] - middle, middle - bounds[0]) <= precision * middle:
            timing.stop = "precision"
    if not timing.stop and timing.spent >= seconds:
        timing.stop = "budget"
    return bool(timing.stop)


def _keep(timing: Timing, samples: Sequence[float], rng: random.Random) -> None:
    """Keep a sample of the samples: reservoir sampling (algorithm R), every sample has the same
    probability.
    """
    for sample in samples:
        timing.seen += 1
        if len(timing.samples) < KEPT_SAMPLES:
            timing.samples.append(sample)
        elif (place := rng.randrange(timing.seen)) < KEPT_SAMPLES:
            timing.samples[place] = sample


def median_interval(
    values: Sequence[float], confidence: float = 0.95
) -> tuple[float, float] | None:
    """Return the distribution-free interval of the median by order statistics; None for fewer than
    6 values.

    The ranks come from the binomial distribution (Hahn & Meeker, Statistical Intervals, 5.2). The
    coverage is at least ``confidence`` for independent values.
    """
    n = len(values)
    if n < INTERVAL_ROUNDS:
        return None
    tail, rank = 0.0, 0
    while (tail + math.comb(n, rank) / 2**n) * 2 <= 1 - confidence:
        tail += math.comb(n, rank) / 2**n
        rank += 1
    ordered = sorted(values)
    return ordered[rank - 1], ordered[n - rank]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which the share ``share`` of the values lies, interpolated
    linearly.
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def ratio(numerator: Timing, denominator: Timing) -> float | None:
    """Return how many times longer one takes than the other; None without a common round.

    It is the median over rounds of the ratio of their blocks.
    """
    by_round = dict(zip(denominator.rounds, denominator.blocks, strict=True))
    pairs = [
        math.log(block / by_round[n])
        for n, block in zip(numerator.rounds, numerator.blocks, strict=True)
        if n in by_round
    ]
    return math.exp(statistics.median(pairs)) if pairs else None


# Two-sided 95 % quantiles of Student's t for 2 to 9 degrees of freedom (any table;
# scipy.stats.t.ppf(.975, df)).
T975 = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def over_launches(ratios: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return (ratio, low, high): the geometric mean over launches, with its 95 % interval by
    Student's t.

    The launch is the unit of the interval: blocks of one process share its memory layout, so an
    interval over blocks would be too narrow. With fewer than three launches ``low`` and ``high``
    are None.
    """
    logs = [math.log(r) for r in ratios]
    middle = statistics.fmean(logs)
    if len(logs) < 3:
        return math.exp(middle), None, None
    half = T975[min(len(logs) - 1, 9)] * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)
