"""Workers as the pytest process handles them: asked, heard, parked, ended."""

import time

import psutil
import pytest

from paritygate.core.record import Status
from paritygate.process.client import Worker, WorkerError
from paritygate.process.protocol import Block, Open, Stage
from tests.support.rig import specimen


@pytest.fixture
def task(rig):
    """The task of an eager worker whose reference is made."""
    # large enough for a team of threads
    group = rig.group(specimen(shapes={"b8192": {"batch": 8192}}), "eager")
    group.reference.make([], launch=0)
    return group.reference.task("eager")


OPEN = Open("paritygate.backends.eager")


@pytest.fixture
def worker(rig, task):
    worker = rig.server.fork(task)
    yield worker
    worker.close()


def test_a_worker_says_what_it_is_doing_and_then_answers(worker):
    heard = []
    answer = worker.ask(OPEN, 60, heard.append)
    assert answer.status == "ok"
    assert heard == [
        "loading inputs",
        "preparing the model",
        "answering the checked inputs",
        "comparing with the reference",
    ]
    assert worker.stage is Stage.COMPARING


def test_a_worker_that_raised_can_be_asked_again(worker):
    with pytest.raises(WorkerError) as ended:
        worker.ask(Open("paritygate.backends.nowhere"), 60)
    assert ended.value.status is Status.FAILED
    assert "No module named 'paritygate.backends.nowhere'" in str(ended.value)
    assert "Traceback" in ended.value.trace
    assert worker.ask(OPEN, 60).status == "ok"


def test_a_parked_worker_is_stopped_with_all_its_threads_and_goes_on_when_asked(worker):
    worker.ask(OPEN, 60)
    worker.park()
    process = psutil.Process(worker.pid)
    assert process.status() == psutil.STATUS_STOPPED
    assert process.num_threads() > 1, "otherwise this proves little"
    used = process.cpu_times()
    time.sleep(0.2)
    assert process.cpu_times() == used
    block = worker.ask(Block(calls=3, samples=5, keep=2), 60)
    assert len(block.times) == 5
    assert all(seconds > 0 for seconds in block.times)


def test_a_worker_that_takes_too_long_is_ended_and_says_with_what_it_was_busy(worker):
    with pytest.raises(WorkerError) as ended:
        worker.ask(Open("tests.faulty_import"), 0.0)
    assert ended.value.status is Status.TIMED_OUT
    assert not psutil.pid_exists(worker.pid)


def test_the_children_of_a_worker_end_with_it(rig, task):
    rig.module(
        "parenting",
        "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n"
        "from paritygate.backends.eager import prepare\n",
    )
    worker = rig.server.fork(task)
    worker.ask(Open("parenting"), 60)
    (child,) = psutil.Process(worker.pid).children()
    worker.close()
    _, alive = psutil.wait_procs([child], 10)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_closing_twice_and_parking_what_is_closed_are_in_order(worker):
    worker.close()
    worker.close()
    worker.park()
    worker.resume()
    with pytest.raises(WorkerError):
        worker.ask(OPEN, 5)


@pytest.mark.parametrize("kills", [0, 1])
def test_a_kill_that_is_not_ours_is_for_memory_where_the_kernel_counted_one(
    rig, task, monkeypatch, kills
):
    counted = [5]
    monkeypatch.setattr("paritygate.host.machine.oom_kills", lambda: counted[0])
    worker: Worker = rig.server.fork(task)
    counted[0] += kills
    psutil.Process(worker.pid).kill()
    with pytest.raises(WorkerError) as ended:
        worker.ask(OPEN, 60)
    assert ended.value.status is (Status.OUT_OF_MEMORY if kills else Status.CRASHED)


def test_a_worker_that_cannot_be_ended_takes_its_fork_server_with_it(rig, task, monkeypatch):
    """One stuck in the driver, say: what the server says of it, late, would be taken for the next
    answer.
    """
    monkeypatch.setattr("paritygate.process.client.END_DEADLINE", 0.3)
    stuck = rig.server.fork(task)

    assert rig.server.wait(stuck.pid) is None, "it has not ended"
    fresh = rig.server.fork(task)
    assert fresh.pid != stuck.pid
    assert fresh.ask(OPEN, 60).status == "ok"


def test_every_worker_keeps_a_log_of_its_own(rig, task):
    workers = [rig.server.fork(task) for _ in range(2)]
    assert workers[0].log != workers[1].log
    for worker in workers:
        worker.close()
