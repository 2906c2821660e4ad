"""Data-parallel training: ranks agree with one process, wrong shares show, and no rank hangs or is
left behind.
"""

import threading

import psutil
import pytest
import torch

from models import distributed
from paritygate.core.case import Case
from paritygate.core.record import Status
from paritygate.parity import rule
from paritygate.parity.tolerance import tolerances
from paritygate.runtime.nest import comparable
from paritygate.runtime.subject import arrays
from tests.support.processes import gone, orphans

SIZES = {"batch": 64, "steps": 5}
REAL_SHARE = distributed.share
OWNER = """
import torch
from models import distributed
ranks = distributed.ddp_2(distributed.OneProcess())
print("ready", flush=True)
while True:
    ranks(torch.zeros(300, 64, 1, 16, 16), torch.zeros(300, 64, dtype=torch.int64))
"""


def batches(seed=0, **sizes):
    return distributed.global_batches(SIZES | sizes, torch.Generator().manual_seed(seed))


def compared(answer, right):
    assert list(answer) == list(right)
    tolerance = tolerances()["fp32_gradients"]  # the row of the suite
    return rule.compare([arrays(comparable(answer))], [arrays(comparable(right))], None, tolerance)


def processes_of(ranks):
    """torchrun, and the ranks in their order."""
    torchrun = psutil.Process(ranks._torchrun.pid)
    return [torchrun, *sorted(torchrun.children(), key=lambda process: process.environ()["RANK"])]


@pytest.fixture(scope="module")
def plain():
    torch.manual_seed(0)
    return distributed.OneProcess()


@pytest.fixture(scope="module")
def one_rank(plain):
    ranks = distributed.ddp_1(plain)
    yield ranks
    ranks.close()


@pytest.fixture(scope="module")
def two_ranks(plain):
    ranks = distributed.ddp_2(plain)
    yield ranks
    ranks.close()


@pytest.fixture
def fresh(plain):
    """Two ranks of a test's own, which may come to harm."""
    ranks = distributed.ddp_2(plain)
    yield ranks
    ranks.close()


def test_one_process_trains_anew_in_every_call(plain):
    first, second = plain(**batches()), plain(**batches())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["losses"].shape == (5,)
    assert first.keys() == {"losses", *plain.model.state_dict()}
    assert all(value.norm() > 0 for value in first.values())


def test_one_process_does_what_plain_sgd_would(plain):
    (images, labels), rate = batches(steps=2).values(), 0.01
    weights = {
        name: value.clone().requires_grad_() for name, value in plain.model.state_dict().items()
    }
    velocity = dict.fromkeys(weights, 0)
    for batch, targets in zip(images, labels, strict=True):
        logits = torch.func.functional_call(plain.model, weights, (batch,))
        gradients = torch.autograd.grad(
            torch.nn.functional.cross_entropy(logits, targets), list(weights.values())
        )
        for name, gradient in zip(weights, gradients, strict=True):
            velocity[name] = 0.9 * velocity[name] + gradient
            weights[name] = (weights[name] - rate * velocity[name]).detach().requires_grad_()
    moved = {
        name: value.detach() - plain.model.state_dict()[name] for name, value in weights.items()
    }
    answer = plain(images, labels)
    assert compared({"losses": answer["losses"]} | moved, answer).agrees


@pytest.mark.parametrize("ranks", ["one_rank", "two_ranks"])
def test_losses_and_weights_agree_with_one_process(plain, ranks, request):
    ranks = request.getfixturevalue(ranks)
    for seed in range(3):
        assert compared(ranks(**batches(seed)), plain(**batches(seed))).agrees


def test_a_second_call_gives_the_same_answer_whatever_came_between(two_ranks):
    first = two_ranks(**batches())
    two_ranks(**batches(1, batch=8, steps=3))
    second = two_ranks(**batches())
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_facts_tell_ranks_threads_and_bytes(one_rank, two_ranks):
    threads = torch.get_num_threads()
    assert two_ranks.facts() == {
        "ranks": 2,
        "threads_per_rank": max(1, threads // 2),
        "distributed_backend": "gloo",
        "gradient_bytes_per_step": 315_146 * 4,
    }
    assert one_rank.facts()["threads_per_rank"] == threads


def one_label_off(whole, rank, ranks):
    part = REAL_SHARE(whole, rank, ranks).clone()
    if rank == 1 and whole.ndim == 2:
        part[-1, 0] = (part[-1, 0] + 1) % 10
    return part


def one_sample_dropped(whole, rank, ranks):
    return REAL_SHARE(whole, rank, ranks)[:, rank:]


def the_share_of_the_other(whole, rank, ranks):
    return REAL_SHARE(whole, 0, ranks)


@pytest.mark.parametrize("wrong", [one_label_off, one_sample_dropped, the_share_of_the_other])
def test_a_rank_with_a_wrong_share_is_noticed(plain, two_ranks, monkeypatch, wrong):
    monkeypatch.setattr(distributed, "share", wrong)
    assert not compared(two_ranks(**batches()), plain(**batches())).agrees


def test_a_batch_that_cannot_be_shared_equally_is_refused(plain, two_ranks):
    with pytest.raises(ValueError, match="7 samples cannot be shared equally by 2 ranks"):
        two_ranks(**batches(batch=7))
    assert compared(two_ranks(**batches()), plain(**batches())).agrees


def test_no_process_is_left_after_close(fresh):
    processes = processes_of(fresh)
    assert len(processes) == 3
    fresh.close()
    assert all(gone(process.pid) for process in processes)
    with pytest.raises(RuntimeError, match="the 2 ranks have ended; start new ones"):
        fresh(**batches())


def test_a_rank_that_is_killed_in_a_call_is_named_and_takes_all_with_it(fresh):
    processes = processes_of(fresh)
    victim = processes[2]
    victim.suspend()  # so that the call cannot end before
    threading.Timer(0.5, victim.kill).start()
    with pytest.raises(
        RuntimeError, match=r"rank 1 of 2 was killed by SIGKILL.*while training; last output:"
    ):
        fresh(**batches())
    assert all(gone(process.pid) for process in processes)


def test_a_rank_that_is_killed_between_calls_is_named(fresh):
    fresh(**batches())
    processes = processes_of(fresh)
    processes[1].kill()
    assert gone(processes[2].pid, seconds=30)  # by torchrun
    with pytest.raises(RuntimeError, match="rank 0 of 2 was killed by SIGKILL while training"):
        fresh(**batches())


def test_a_rank_that_fails_is_named_and_its_last_words_are_shown(fresh, monkeypatch):
    monkeypatch.setattr(
        distributed, "share", lambda whole, rank, ranks: whole[:, :, None] if rank else whole
    )
    with pytest.raises(RuntimeError, match=r"(?s)rank 1 of 2 exited with 1.*Error"):
        fresh(**batches())


def test_a_rank_that_hangs_is_given_up_and_ended(plain, monkeypatch):
    # torchrun's as well, which ends stopped ranks after it
    monkeypatch.setattr(distributed, "GRACE", 2.5)
    ranks = distributed.ddp_2(plain)
    # the ranks are connected: one that stops while they connect is no hang, the other fails at once
    ranks(**batches())
    # of this process; the ranks go on waiting for each other
    monkeypatch.setattr(distributed, "TIMEOUT", 0.5)
    processes = processes_of(ranks)
    processes[2].suspend()
    with pytest.raises(RuntimeError, match="rank 0 of 2 gave no answer within 3 s"):
        ranks(**batches())
    assert all(gone(process.pid, seconds=30) for process in processes)


def test_ranks_that_cannot_start_say_why(plain, monkeypatch):
    monkeypatch.setattr(distributed, "LOOPBACK", "there_is_no_such_interface")
    with pytest.raises(
        RuntimeError,
        match=r"(?s)rank \d of 2 exited with 1.*while starting.*there_is_no_such_interface",
    ):
        distributed.ddp_2(plain)


def test_no_process_is_left_when_the_owner_is_killed_in_a_call():
    processes = orphans(OWNER)
    assert len(processes) == 3
    assert all(gone(process.pid, seconds=30) for process in processes)


@pytest.mark.parametrize(
    ("variant", "told"),
    [("dying_rank", "rank 1 of 2 was killed by SIGKILL"), ("lonely", "need one GPU each")],
)
def test_what_becomes_of_the_cell_of_ranks_that_cannot_go_on(rig, variant, told):
    case = Case(
        "ddp",
        model="models.distributed:OneProcess",
        inputs="models.distributed:global_batches",
        unit="sample",
        shapes={"b8_k2": {"batch": 8, "steps": 2}},
        reference="eager",
        tolerance="fp32_gradients",
        variants={variant: f"tests.support.specimens:{variant}"},
    )
    records = rig.run(case, "eager", variant)

    assert records["eager"].status is Status.OK, records["eager"].reason
    assert records[variant].status is (Status.SKIPPED if variant == "lonely" else Status.FAILED)
    assert told in records[variant].reason
