"""How long a worker is waited for: its own measured calls move the deadline, a declared one stands.
No torch.
"""

from __future__ import annotations

import math
import subprocess
import time
from types import SimpleNamespace

import pytest

from paritygate.core.record import Status
from paritygate.process import client
from paritygate.process.client import Worker, WorkerError
from paritygate.process.protocol import AskReady, Block, Facts, Nothing, Stage, Timed
from paritygate.process.timed_worker import BLOCK_DEADLINE, SLOW_CALL, TimedWorker
from paritygate.worker import calls

BUSY = {"stage": Stage.RUNNING_EAGER, "detail": ""}
DONE: dict[str, dict[str, object]] = {"answer": {}}
REMEDY = "; a larger deadline= of the Case gives it more time"


class Spoken:
    """A worker's side of the channel, and the clock of both: a ``script`` is a list of (seconds
    until it is sent, message). No time passes, so that a busy machine changes nothing.
    """

    def __init__(self):
        self.now, self.script = 1000.0, []

    def monotonic(self):
        return self.now

    def send(self, message):
        """Heard."""

    def receive(self, deadline):
        seconds, message = self.script.pop(0) if self.script else (math.inf, None)
        if self.now + seconds > deadline:
            self.now = deadline
            raise TimeoutError
        self.now += seconds
        return message

    def close(self):
        """Nothing is open."""


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """A worker that is a process, and whose words the test speaks."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    spoken = Spoken()
    made = Worker(
        SimpleNamespace(wait=lambda pid: process.wait()),
        process.pid,
        spoken,
        tmp_path / "worker.log",
    )
    monkeypatch.setattr(
        client, "time", SimpleNamespace(monotonic=spoken.monotonic, sleep=time.sleep)
    )
    made.play, made.clock = lambda *script: spoken.script.extend(script), spoken.monotonic
    yield made
    made.close()


REQUEST = AskReady()


def test_a_worker_that_asks_for_more_seconds_gets_them(worker):
    worker.play((0, BUSY | {"calls": 1, "seconds": 10.0}), (0.6, DONE))

    assert worker.ask(REQUEST, 0.3) == Nothing()


@pytest.mark.parametrize(
    "message",
    [
        BUSY,
        BUSY | {"calls": 1},
        BUSY | {"calls": 1, "seconds": 0.1},
        BUSY | {"calls": 1, "seconds": None},
    ],
)
def test_one_that_asks_for_none_has_those_it_had(worker, message):
    worker.play((0, message))
    began = worker.clock()
    with pytest.raises(WorkerError) as ended:
        worker.ask(REQUEST, 0.5)

    assert worker.clock() - began == pytest.approx(0.5)
    assert ended.value.status is Status.TIMED_OUT


def test_seconds_count_from_the_message_on_and_never_shorten_the_deadline(worker):
    worker.play(
        (0.2, BUSY | {"calls": 1, "seconds": 1.0}),
        (0.1, BUSY | {"calls": 2, "seconds": 0.1}),
        (0.6, DONE),
    )

    assert worker.ask(REQUEST, 0.3) == Nothing()


def test_a_declared_deadline_stands_whatever_is_asked_for(worker):
    worker.play((0, BUSY | {"calls": 7, "seconds": 3.0}))
    with pytest.raises(WorkerError) as ended:
        worker.ask(REQUEST, 0.5, declared=True)

    assert (
        str(ended.value)
        == "no answer within the 0.5 s of deadline= while: running eager (7 calls made)"
    )


@pytest.mark.parametrize(
    ("message", "declared", "reason"),
    [
        (BUSY | {"calls": 7}, False, f" (7 calls made){REMEDY}"),
        (BUSY | {"calls": 1}, False, f" (1 call made){REMEDY}"),
        (BUSY, False, REMEDY),
        (BUSY, None, ""),
    ],
)
def test_a_time_out_names_the_deadline_and_how_far_it_came(worker, message, declared, reason):
    worker.play((0, message))
    with pytest.raises(WorkerError) as ended:
        worker.ask(REQUEST, 0.6, declared=declared)

    assert str(ended.value) == f"no answer within 0.6 s while: running eager{reason}"
    assert ended.value.stage is Stage.RUNNING_EAGER, "what decides the fate of other cells"


def test_a_deadline_that_moved_is_told_as_it_was_in_the_end(worker):
    worker.play((0.5, BUSY | {"calls": 2, "seconds": 1.5}))
    with pytest.raises(WorkerError) as ended:
        worker.ask(REQUEST, 1.0)

    assert str(ended.value) == "no answer within 2 s while: running eager (2 calls made)"


def test_calls_that_take_longer_than_was_measured_move_the_deadline(monkeypatch):
    """Steps of a training took 60 ms or 2.9 s by chance: its deadline followed the first one's."""
    clock, said = iter([0.0, 0.05, 3.05, 3.1]), []
    monkeypatch.setattr(calls.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(calls, "PATIENCE", 4.0)
    made = calls.Calls(lambda stage, detail, **more: said.append(more), seconds=0.06)

    made.begin(Stage.TRAINING_STEPS, 10)
    for _ in range(3):
        made.done()

    assert said[0]["seconds"] == pytest.approx(10 * 4 * 0.06)
    assert said[1] == {"calls": 2, "seconds": pytest.approx(8 * 4 * 3.0)}
    assert len(said) == 2, "a fast call is not told of"


def test_calls_are_of_this_request_and_are_shown_while_it_runs(worker):
    heard = []
    worker.play(
        (0, BUSY | {"calls": 3}), (0, {"stage": Stage.MAKING_ARTEFACT, "detail": "aoti"}), (0, DONE)
    )
    worker.ask(REQUEST, 5.0, heard.append)
    worker.play((0, {"stage": Stage.PREPARING}))
    with pytest.raises(WorkerError) as ended:
        worker.ask(REQUEST, 0.3)

    assert heard == ["running eager, 3 calls made", "making what aoti needs"]
    assert str(ended.value) == "no answer within 0.3 s while: preparing the model"


# -- timed blocks


class Slow:
    """A worker whose calls take so long, of which it notes how long it would have been waited
    for.
    """

    def __init__(self, seconds, first=None):
        self.seconds, self.seconds_per_call, self.waited = seconds, first, []

    def ask(self, request, deadline):
        self.waited.append(deadline)
        if isinstance(request, Block):
            return Timed([self.seconds])
        return Facts({"joules": 1.0})

    def park(self):
        """Nothing runs."""


def test_the_first_block_of_a_slow_model_has_time_for_its_calls():
    """It settles with one call and times another: with calls of 20 s more than a fast model's
    blocks may take.
    """
    worker = Slow(20.0, first=20.0)
    timed_worker = TimedWorker(worker)
    timed_worker.block(1, 1)
    timed_worker.block(1, 2)

    assert worker.waited[0] > BLOCK_DEADLINE + 10 * 2 * 20.0
    assert worker.waited[1] > BLOCK_DEADLINE + 10 * 3 * 20.0


def test_a_fast_models_first_call_says_nothing_about_its_blocks():
    """It loads and allocates; a block that hangs must be noticed soon."""
    worker = Slow(0.001, first=0.9 * SLOW_CALL)
    timed_worker = TimedWorker(worker)
    timed_worker.block(1, 1)
    timed_worker.block(10, 10)

    assert worker.waited == pytest.approx([BLOCK_DEADLINE, BLOCK_DEADLINE + 10 * 0.001 * 103])


def test_what_comes_after_the_last_block_has_time_for_its_calls_too():
    worker = Slow(10.0)
    timed_worker = TimedWorker(worker)
    timed_worker.block(1, 1)

    assert timed_worker.finish(3.0) == {"joules": 1.0}
    assert worker.waited[-1] >= BLOCK_DEADLINE + 2 * 3.0 + 10.0 * 19
