"""The timed loop of a worker on a device that works asynchronously; everything else of it runs in
real processes.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from paritygate.backends import BackendError, PreparedModel
from paritygate.process.protocol import Block, Finish
from paritygate.runtime import precision
from paritygate.runtime.subject import BoundCase
from paritygate.worker import server as worker_module
from paritygate.worker.opened import OpenedModel
from paritygate.worker.stopwatch import SETTLE_SECONDS, Stopwatch
from tests.support.fakes import FakeDevice
from tests.support.rig import specimen, task_of

CALL_SECONDS = 0.002


@pytest.fixture
def device(monkeypatch):
    made = FakeDevice()
    monkeypatch.setitem(worker_module.DEVICES, "cpu", lambda: made)
    return made


@pytest.fixture
def worker(device, tmp_path):
    """A worker whose model gives each of four inputs back after 2 ms on the device."""
    task = task_of(specimen(), tmp_path, threads=torch.get_num_threads())
    made = worker_module.Worker(BoundCase.from_task(task), task, str)

    def call(feed):
        device.launch(CALL_SECONDS)
        return feed

    prepared, feeds = (
        PreparedModel(call, to_tensors=lambda raw: [torch.tensor([raw])]),
        [0.0, 1.0, 2.0, 3.0],
    )
    made.opened = OpenedModel(made.subject, prepared, feeds, feeds)
    made.expected = [[np.array([feed], dtype=np.float32)] for feed in feeds]
    made.allowed = 1e-6
    made.subject.scratch.save_answers("eager", made.expected)
    made.stopwatch = Stopwatch(device, lambda feed: prepared.call(feed), feeds)
    return made


def test_a_block_waits_for_the_device_before_it_reads_the_clock(worker):
    times = worker.block(Block(calls=5, samples=4, keep=0)).times

    assert times == pytest.approx([CALL_SECONDS] * 4)


def test_a_block_throws_away_what_runs_before_it_has_settled(worker, device):
    worker.block(Block(calls=1, samples=1, keep=0))

    settling = SETTLE_SECONDS / CALL_SECONDS
    assert device.waits == pytest.approx(settling + 1, abs=1)


def test_inputs_rotate_on_from_block_to_block(worker):
    before = worker.stopwatch.turn
    worker.block(Block(calls=3, samples=2, keep=1))
    first = worker.stopwatch.turn
    worker.block(Block(calls=3, samples=2, keep=1))

    assert first - before == worker.stopwatch.turn - first


@pytest.mark.parametrize("keep", range(4))
def test_a_wrong_answer_in_any_sample_that_is_kept_is_found(worker, keep):
    worker.opened.prepared.to_tensors = lambda raw: [torch.tensor([raw + 0.5])]

    with pytest.raises(
        BackendError,
        match=r"wrong answer while timed to input set \d, unlike the checked one: output 0",
    ):
        worker.block(Block(calls=1, samples=4, keep=keep))


def test_a_cold_call_is_timed_by_the_device_without_the_flushing(worker, device):
    worker.stopwatch.cold_cache = True
    device.flush_seconds = 0.0001

    times = worker.block(Block(calls=2, samples=3, keep=1)).times

    assert times == pytest.approx([CALL_SECONDS] * 3)
    assert device.flushes == 1 + 2 * 3, "each call finds a cold cache"


def test_a_device_without_such_a_cache_is_timed_as_ever(worker, device):
    worker.stopwatch.cold_cache = True

    assert worker.block(Block(calls=2, samples=3, keep=1)).times == pytest.approx(
        [CALL_SECONDS] * 3
    )
    assert device.flushes == 1, "only asked for"


def test_a_planted_slowdown_is_of_the_devices_time_too(worker, device):
    worker.stopwatch.cold_cache = True
    device.flush_seconds = 0.0001
    device.clock = RunningClock(device.clock)

    times = worker.block(Block(calls=1, samples=3, keep=1, planted=0.1)).times

    assert times == pytest.approx([1.1 * CALL_SECONDS] * 3, rel=0.01)


class RunningClock:
    """A clock on which time passes with every look, too."""

    def __init__(self, clock):
        self._clock = clock

    def __call__(self):
        self.now += 1e-6
        return self.now

    @property
    def now(self):
        return self._clock.now

    @now.setter
    def now(self, value):
        self._clock.now = value


def test_the_devices_own_seconds_leave_out_that_it_waits_for_launches(worker, device):
    """The host takes 1 ms for each of five launches of 0.1 ms of work."""
    device.flush_seconds = 0.0001

    def call(feed):
        for _ in range(5):
            device.clock.now += 0.001
            device.launch(0.0001)
        return feed

    worker.opened.prepared.call = call

    assert worker.block(Block(calls=1, samples=1, keep=0)).times == pytest.approx([0.0051])
    assert worker.finish(Finish()).facts["device_seconds"] == pytest.approx(0.0005)


def test_an_engine_with_a_stream_of_its_own_has_no_seconds_by_marks_on_ours(worker, device):
    device.flush_seconds = 0.001
    assert "device_seconds" in worker.finish(Finish()).facts
    worker.opened.prepared.asynchronous = False

    assert worker.finish(Finish()).facts == {}


def test_a_block_tells_the_gauge_as_it_was_before_anything_was_compared(
    worker, device, monkeypatch
):
    order = []
    monkeypatch.setattr(
        device,
        "clock_state",
        lambda: order.append("gauge") or {"mhz": 1410, "throttled": ["SwPowerCap"]},
    )
    call = worker.opened.prepared.call
    worker.opened.prepared.call = lambda feed: order.append("call") or call(feed)
    monkeypatch.setattr(worker.opened, "read", lambda raw: order.append("read") or raw)
    monkeypatch.setattr(worker, "_verify", lambda *_: order.append("verify"))

    answer = worker.block(Block(calls=1, samples=2, keep=1))

    assert (answer.mhz, answer.throttled) == (1410, ["SwPowerCap"])
    assert order[-4:] == ["call", "gauge", "read", "verify"]


def test_energy_is_told_for_a_call_where_the_device_counts_it(worker, device):
    device.watts = 300.0

    assert worker.finish(Finish(energy_seconds=3.0)).facts["joules"] == pytest.approx(
        300 * CALL_SECONDS
    )


def test_energy_is_left_out_where_nobody_counts_it(worker):
    assert worker.finish(Finish(energy_seconds=3.0)).facts == {}


@pytest.mark.parametrize(("dtype", "tf32"), [("fp32", False), ("tf32", True), ("bf16", False)])
def test_the_policy_of_float32_is_the_dtypes(device, tmp_path, dtype, tf32):
    task = task_of(specimen(), tmp_path, dtype_name=dtype, threads=torch.get_num_threads())
    try:
        settings = worker_module.Worker(BoundCase.from_task(task), task, str).settings
    finally:
        precision.apply("fp32")

    assert settings["matmul_precision"] == ("high" if tf32 else "highest")
    assert settings["cudnn_tf32"] is tf32
    assert settings["reduced_precision_reduction"] is False


def test_backends_are_told_the_stream_of_the_device(worker, device):
    assert worker.subject.stream == device.stream
