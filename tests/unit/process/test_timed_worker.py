"""A parked worker as timing sees it; the worker is a stand-in that answers with known times."""

from dataclasses import replace

import pytest

from paritygate.core.record import Status
from paritygate.process.client import WorkerError
from paritygate.process.protocol import AuditClock, Audited, AuditWork, Block, Clocked, Timed
from paritygate.process.timed_worker import LOOKS, REPLACED, TimedWorker, clock_problem
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


@pytest.mark.parametrize(
    ("claimed", "seconds"),
    [(0.050, 0.0501), (0.050, 0.060), (1.0, 1.1), (0.0, 0.004), (0.0501, 0.050), (30.0, 29.9)],
)
def test_two_right_clocks_differ_by_the_messages(claimed, seconds):
    assert clock_problem(Clocked(claimed, []), seconds) == ""


@pytest.mark.parametrize(("claimed", "seconds"), [(0.025, 0.05), (0.9, 1.1), (0.06, 0.05), (2, 1)])
def test_a_clock_that_runs_slower_or_faster_is_wrong(claimed, seconds):
    problem = clock_problem(Clocked(claimed, []), seconds)

    assert problem.startswith(
        f"its clock is wrong: by it, calls take {claimed:.3g} s that take {seconds:.3g} s by the"
    )


class Audience(FakeWorker):
    """Answers an audit; its clock is wrong in so many looks."""

    def __init__(self, wrong=0, replaced=()):
        super().__init__()
        self.wrong, self.replaced = wrong, list(replaced)

    def resume(self):
        pass

    def ask(self, request, deadline):
        self.asked.append(request)
        if isinstance(request, AuditWork):
            return Audited(["something"])
        assert isinstance(request, AuditClock)
        self.wrong -= 1
        return Clocked(9.0 if self.wrong >= 0 else 0.0, self.replaced)


@pytest.mark.parametrize("late", [0, 1, LOOKS - 1])
def test_one_look_at_a_right_clock_is_enough(late):
    worker = Audience(wrong=late)
    timed_worker = TimedWorker(worker)
    timed_worker.audit()

    assert len(worker.asked) == late + 2
    assert timed_worker.not_audited == ["something"]
    assert worker.parked == 1
    assert not worker.closed


@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        (Audience(wrong=LOOKS), "its clock is wrong: by it, calls take 9 s"),
        (Audience(replaced=["time.time"]), "replaces time.time, so its times are not the seconds"),
    ],
)
def test_a_wrong_clock_ends_the_cell(worker, reason):
    with pytest.raises(WorkerDroppedError) as dropped:
        TimedWorker(worker).audit()

    assert dropped.value.args[0].status is Status.FAILED
    assert dropped.value.args[0].reason.startswith(reason)
    assert worker.closed
    assert not any(isinstance(request, AuditWork) for request in worker.asked)
