"""The timed loop of a worker on a device that works asynchronously; everything else of it runs in real processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench import worker as worker_module
from bench.backends import Misbehaved, Prepared
from bench.subject import Subject
from tests.fakes import FakeDevice

CALL_SECONDS = 0.002


@pytest.fixture
def device(monkeypatch):
    made = FakeDevice()
    monkeypatch.setitem(worker_module.DEVICES, "cpu", lambda: made)
    return made


@pytest.fixture
def worker(device, tmp_path):
    """A worker whose model gives each of four inputs back after 2 ms on the device."""
    task = {
        "case": {}, "shape": "b1", "device": "cpu", "dtype_name": "fp32", "backend": "eager", "folder": str(tmp_path),
        "cache": str(tmp_path), "seed": 0, "threads": torch.get_num_threads(), "laboratory": False,
    }  # fmt: skip
    made = worker_module.Worker(Subject.of(task), task, str)

    def call(feed):
        device.launch(CALL_SECONDS)
        return feed

    made.prepared = Prepared(call=call, read=lambda raw: [torch.tensor([raw])])
    made.feeds = [0.0, 1.0, 2.0, 3.0]
    made.expected = [[np.array([feed], dtype=np.float32)] for feed in made.feeds]
    made.allowed, made.turn = 1e-6, 0
    return made


def test_a_block_waits_for_the_device_before_it_reads_the_clock(worker):
    times = worker.block(calls=5, samples=4, keep=0)["times"]

    assert times == pytest.approx([CALL_SECONDS] * 4)


def test_a_block_throws_away_what_runs_before_it_has_settled(worker, device):
    worker.block(calls=1, samples=1, keep=0)

    settling = worker_module.SETTLE_SECONDS / CALL_SECONDS
    assert device.waits == pytest.approx(settling + 1, abs=1)


def test_inputs_rotate_on_from_block_to_block(worker):
    before = worker.turn
    worker.block(calls=3, samples=2, keep=1)
    first = worker.turn
    worker.block(calls=3, samples=2, keep=1)

    assert first - before == worker.turn - first


@pytest.mark.parametrize("keep", range(4))
def test_a_wrong_answer_in_any_sample_that_is_kept_is_found(worker, keep):
    worker.prepared.read = lambda raw: [torch.tensor([raw + 0.5])]

    with pytest.raises(Misbehaved, match="wrong answer while timed: output 0 for input set"):
        worker.block(calls=1, samples=4, keep=keep)
