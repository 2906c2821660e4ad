"""A parked worker as timing sees it; the worker is a stand-in that answers with known times."""

from dataclasses import replace

import pytest

from paritygate.core.record import Status
from paritygate.process.client import WorkerError
from paritygate.process.protocol import Block, Timed
from paritygate.process.timed_worker import REPLACED, TimedWorker
from paritygate.timing.schedule import WorkerDroppedError


class FakeWorker:
    """Answers every block with a number: 1.0, 2.0, ...; and with these gauges in turn, the last one
    for ever.
    """

    def __init__(self, *gauges, ends=None):
        self.asked, self.parked, self.closed, self.ends, self.gauges = (
            [],
            0,
            False,
            ends,
            list(gauges) or [{}],
        )
        self.seconds_per_call = None

    def ask(self, request, deadline):
        if self.ends:
            raise self.ends
        self.asked.append(request)
        seen = self.gauges.pop(0) if len(self.gauges) > 1 else self.gauges[0]
        return Timed([float(len(self.asked))], **seen)

    def park(self):
        self.parked += 1

    def close(self):
        self.closed = True


def clock_state(*throttled):
    return {"mhz": 1980, "throttled": list(throttled)}


def test_a_block_is_asked_for_once_and_the_worker_is_parked():
    worker = FakeWorker()
    assert list(TimedWorker(worker).block(3, 4)) == [1.0]
    assert replace(worker.asked[0], keep=0) == Block(3, 4, 0)
    assert worker.parked == 1


def test_a_block_with_a_clock_that_was_cut_is_measured_again_and_the_reason_counted():
    timed_worker = TimedWorker(
        FakeWorker(clock_state("SwPowerCap"), clock_state("HwThermal"), clock_state())
    )

    assert list(timed_worker.block(1, 1)) == [3.0]
    assert timed_worker.replaced == {"SwPowerCap": 1, "HwThermal": 1}
    assert timed_worker.mhz == [1980], "of the block that counts"


def test_a_clock_that_is_always_cut_is_not_waited_for():
    worker = FakeWorker(clock_state("SwPowerCap"))
    timed_worker = TimedWorker(worker)

    assert list(timed_worker.block(1, 1)) == [float(REPLACED + 1)]
    assert len(worker.asked) == worker.parked == REPLACED + 1


def test_a_cut_that_lasts_is_measured_again_once_it_is_over_and_told_meanwhile():
    # the first block with its repetitions, and the second
    cut = [clock_state("SwPowerCap")] * (REPLACED + 2)
    worker = FakeWorker(*cut, clock_state(), clock_state("HwThermal"), clock_state())
    timed_worker = TimedWorker(worker)

    asked = []
    for _ in range(4):
        timed_worker.block(1, 1)
        asked.append(len(worker.asked) - sum(asked))
    assert asked == [REPLACED + 1, 1, 1, 2]
    assert timed_worker.held == {"SwPowerCap": 2}
    assert timed_worker.replaced == {"SwPowerCap": REPLACED, "HwThermal": 1}


def test_a_device_that_tells_no_clock_has_none():
    timed_worker = TimedWorker(FakeWorker({"mhz": None, "throttled": []}))

    assert list(timed_worker.block(1, 1)) == [1.0]
    assert timed_worker.mhz == []


def test_a_worker_that_ends_drops_out_and_is_closed():
    worker = FakeWorker(ends=WorkerError(Status.CRASHED, "gone"))
    with pytest.raises(WorkerDroppedError) as dropped:
        TimedWorker(worker).block(1, 1)
    assert dropped.value.args[0].reason == "gone"
    assert worker.closed
