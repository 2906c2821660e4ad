"""Loading digits: every sample once, whoever loads it; what is lost, doubled or corrupted; and
processes that end.
"""

import functools
import time

import psutil
import pytest
import torch

from models import loading
from paritygate.parity import rule
from paritygate.parity.tolerance import tolerances
from paritygate.runtime.nest import comparable
from paritygate.runtime.subject import arrays
from tests.support.processes import gone, orphans

VARIANTS = {
    "here": lambda plain: plain,
    "workers_1": loading.workers_1,
    "workers_2": loading.workers_2,
}
OWNER = """
import time
from models import loading
loader = loading.workers_2(loading.Loader())
loader(batch=32, seed=0)
print("ready", flush=True)
time.sleep(600)
"""


class Few(loading.Zoomed):
    """The first samples only."""

    def __len__(self):
        return 100


class Doubled(loading.Zoomed):
    """Sample 5 comes in place of sample 6."""

    def __getitem__(self, index):
        return super().__getitem__(5 if index == 6 else index)


class Corrupted(loading.Zoomed):
    """One pixel of sample 700 is wrong in its last bit."""

    def __getitem__(self, index):
        index, image, label = super().__getitem__(index)
        if index == 700:
            image.view(torch.int32)[0, 3, 4] ^= 1
        return index, image, label


class Mislabelled(loading.Zoomed):
    """Sample 700 has the label of another one."""

    def __getitem__(self, index):
        index, image, label = super().__getitem__(index)
        return index, image, label + (index == 700)


class Swapped(loading.Zoomed):
    """Two pixels of sample 700 have changed places: a plain sum would not notice."""

    def __getitem__(self, index):
        index, image, label = super().__getitem__(index)
        return index, image.flip(2) if index == 700 else image, label


class Slow(Few):
    """Each sample takes longer than a training step of a whole batch."""

    def __getitem__(self, index):
        time.sleep(0.01)
        return super().__getitem__(index)


class Threaded(Few):
    """Work that OpenMP and MKL would share among threads, if they had several."""

    def __getitem__(self, index):
        large = torch.ones(512, 512) @ torch.ones(512, 512)
        index, image, label = super().__getitem__(index)
        return index, image + 0 * large.exp().mean(), label


@pytest.fixture(scope="module")
def plain():
    return loading.Loader()


@pytest.fixture
def one_thread():
    """No team of threads, whose members wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def loader(plain):
    """A function that makes a loader that ends with the test."""
    made = []

    def make(variant):
        made.append(
            variant(plain) if callable(variant) else loading.Loader(workers=2, samples=variant)
        )
        return made[-1]

    yield make
    for one in made:
        one.close()


def compared(answer, right):
    return rule.compare(
        [arrays(comparable(answer))], [arrays(comparable(right))], None, tolerances()["fp32"]
    )


def children():
    return psutil.Process().children(recursive=True)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("batch", [32, 479])
def test_every_sample_comes_exactly_once_that_of_the_last_batch_too(plain, loader, variant, batch):
    answer = loader(variant)(batch, seed=1)
    assert answer["indices"].tolist() == list(range(1437))
    assert answer["counts"].tolist() == [1] * 1437
    assert answer["batches"] == -(-1437 // batch)
    assert torch.equal(answer["labels"], plain.samples.digits.labels)
    assert compared(answer, plain(batch, seed=2)).agrees


def test_more_batches_than_there_are_file_descriptors(loader):
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limit[1]))
    try:
        assert loader(loading.workers_1)(batch=1, seed=0)["batches"] == 1437
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_the_order_follows_from_the_seed_and_the_answer_does_not(plain):
    def order(seed):
        return torch.cat([indices for indices, _, _ in plain.batches(32, seed)])

    assert torch.equal(order(3), order(3))
    assert not torch.equal(order(3), order(4))
    assert compared(plain(32, seed=3), plain(32, seed=4)).agrees


def test_epochs_and_facts_leave_the_random_state_alone(loader):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    two = loader(loading.workers_2)
    two(32, seed=0)
    two.facts()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_zoomed_image_is_standardised_and_larger(plain):
    _, image, label = plain.samples[0]
    assert image.shape == (1, 16, 16)
    assert image.mean().abs() < 1e-5
    assert (image.std() - 1).abs() < 1e-5
    point = torch.zeros(1, 16, 16)
    point[0, 8, 8] = 1
    assert (loading.zoom(point) > 0.5).sum() > 1
    assert label.dtype == torch.int64


def test_a_dropped_sample_is_noticed(plain, loader, monkeypatch):
    monkeypatch.setattr(
        loading, "DataLoader", functools.partial(loading.DataLoader, drop_last=True)
    )
    answer = loader(loading.workers_2)(32, seed=0)
    assert answer["counts"].sum() == 1437 // 32 * 32
    outcome = compared(answer, plain(32, seed=0))
    assert not outcome.agrees
    assert "shape (1408,)" in outcome.problem


@pytest.mark.parametrize(
    ("wrong", "differing"),
    [
        (Doubled, "counts"),
        (Corrupted, "checksums"),
        (Swapped, "checksums"),
        (Mislabelled, "labels"),
    ],
)
def test_a_doubled_a_corrupted_and_a_mislabelled_sample_are_noticed(
    plain, loader, wrong, differing
):
    answer, right = loader(wrong())(32, seed=0), plain(32, seed=0)
    assert not torch.equal(answer[differing], right[differing])
    outcome = compared(answer, right)
    assert not outcome.agrees
    assert "integers differ" in outcome.problem


def test_workers_forked_beside_running_threads_finish_what_threads_would_share(loader):
    assert torch.get_num_threads() > 1 or psutil.cpu_count() == 1
    # OpenMP's team of this process runs from here on
    torch.ones(1000, 1000).matmul(torch.ones(1000, 1000)).exp()
    assert loader(Threaded())(16, seed=0)["counts"].tolist() == [1] * 100


def test_workers_stay_from_one_epoch_to_the_next_and_none_is_left_after_close(loader):
    before = children()
    two = loader(loading.workers_2)
    two(32, seed=0)
    workers = [process for process in children() if process not in before]
    two(32, seed=1)
    assert [process for process in children() if process not in before] == workers
    assert len(workers) == 2
    two.close()
    assert children() == before
    assert two(32, seed=2)["counts"].sum() == 1437  # with new ones


def test_none_is_left_when_the_owner_is_killed():
    workers = orphans(OWNER)
    assert len(workers) == 2
    assert all(gone(worker.pid, seconds=60) for worker in workers)


def test_a_killed_worker_is_an_error_and_no_hang(loader):
    before = children()
    two = loader(loading.workers_2)
    two(32, seed=0)
    next(process for process in children() if process not in before).kill()
    with pytest.raises(
        RuntimeError, match=r"DataLoader worker .* exited unexpectedly|killed by signal: Killed"
    ):
        two(32, seed=1)


def test_the_wait_for_data_is_a_share_of_the_training_and_large_where_loading_is_slow(one_thread):
    quick, slow = loading.Loader(samples=Few()), loading.Loader(samples=Slow())
    for loader in (quick, slow):
        assert loader.facts()["data_wait_share"] is None  # no batch size is known before a call
        loader(32, seed=0)
    waits = quick.facts()["data_wait_share"], slow.facts()["data_wait_share"]
    assert 0 < waits[0] < waits[1] < 1
    assert waits[1] > 0.5


def test_facts_tell_samples_and_processes(loader):
    facts = loader(loading.workers_2).facts()
    assert facts == {"samples_per_epoch": 1437, "loading_processes": 2, "data_wait_share": None}


def test_pinned_memory_needs_an_accelerator(plain, loader):
    if torch.accelerator.is_available():
        two = loader(loading.pinned)
        assert all(images.is_pinned() for _, images, _ in two.batches(32, seed=0))
        assert compared(two(32, seed=0), plain(32, seed=0)).agrees
    else:
        with pytest.raises(NotImplementedError, match="machine with a GPU"):
            loading.pinned(plain)


def test_inputs_hold_the_batch_size_and_a_seed_of_their_own():
    sets = [
        loading.epoch({"batch": 8, "samples": 1437}, torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert sets[0] == sets[1] != sets[2]
    assert [inputs["batch"] for inputs in sets] == [8] * 3
