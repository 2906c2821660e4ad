"""A parked worker as timing sees it; the worker is a stand-in that answers with known times."""

import pytest

from bench import contestant as module
from bench.contestant import REPLACED, Contestant, gauge_of
from bench.launch import Ended
from bench.nvml import GpuLost, Reading
from bench.record import Status
from bench.timing import Dropped


class FakeWorker:
    """Answers every block with a number: 1.0, 2.0, ..."""

    def __init__(self, ends=None):
        self.asked, self.parked, self.closed, self.ends = [], 0, False, ends

    def ask(self, request, deadline):
        if self.ends:
            raise self.ends
        self.asked.append(request)
        return {"times": [float(len(self.asked))]}

    def park(self):
        self.parked += 1

    def close(self):
        self.closed = True


def reasons(*found):
    """A gauge that tells these in turn, then nothing; at a clock of 1980 MHz."""
    left = list(found)
    return lambda: Reading(throttled=(left.pop(0),) if left else (), sm_mhz=1980)


def test_a_block_is_asked_for_once_and_the_worker_is_parked():
    worker = FakeWorker()
    assert list(Contestant(worker).block(3, 4)) == [1.0]
    assert worker.asked[0] | {"keep": 0} == {"op": "block", "calls": 3, "samples": 4, "keep": 0, "planted": 0.0}
    assert worker.parked == 1


def test_a_block_with_a_clock_that_was_cut_is_measured_again_and_the_reason_counted():
    contestant = Contestant(FakeWorker(), gauge=reasons("SwPowerCap", "HwThermal"))

    assert list(contestant.block(1, 1)) == [3.0]
    assert contestant.replaced == {"SwPowerCap": 1, "HwThermal": 1}
    assert contestant.mhz == [1980], "of the block that counts"


def test_a_clock_that_is_always_cut_is_not_waited_for():
    worker = FakeWorker()
    contestant = Contestant(worker, gauge=lambda: Reading(throttled=("SwPowerCap",)))

    assert list(contestant.block(1, 1)) == [float(REPLACED + 1)]
    assert len(worker.asked) == worker.parked == REPLACED + 1


def test_the_gauge_is_read_only_when_the_worker_is_parked():
    worker = FakeWorker()
    seen = []
    Contestant(worker, gauge=lambda: seen.append(worker.parked) or Reading()).block(1, 1)

    assert seen == [1]


def test_a_worker_that_ends_drops_out_and_is_closed():
    worker = FakeWorker(ends=Ended(Status.CRASHED, "gone"))
    with pytest.raises(Dropped) as dropped:
        Contestant(worker).block(1, 1)
    assert dropped.value.args[0].reason == "gone"
    assert worker.closed


def test_without_a_gpu_there_is_nothing_to_read():
    assert gauge_of(None)() == Reading()


def test_a_gpu_that_nvml_does_not_know_is_not_read(monkeypatch):
    def unknown(uuid):
        raise LookupError(uuid)

    monkeypatch.setattr(module, "by_uuid", unknown)
    assert gauge_of("GPU-1")() == Reading()


def test_a_gpu_that_is_lost_meanwhile_is_left_to_its_worker_to_tell(monkeypatch):
    class Lost:
        def read(self):
            raise GpuLost("gone")

    monkeypatch.setattr(module, "by_uuid", lambda uuid: Lost())
    assert gauge_of("GPU-1")() == Reading()
