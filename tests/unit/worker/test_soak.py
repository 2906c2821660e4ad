"""Soak: what is kept of every call is found, and what pools and caches do is not called a leak."""

from __future__ import annotations

import gc
import mmap

import pytest
import torch

from paritygate.runtime.devices.cpu import Cpu
from paritygate.worker.soak import leak, soak


@pytest.fixture(autouse=True)
def _young():
    """A soak looks at every object that the collector knows; those of other tests stand aside."""
    gc.freeze()
    yield
    gc.unfreeze()


def looked_at(call, calls=200, held=lambda: 0):
    return leak(soak(call, calls, held))


def test_a_leaked_tensor_a_call_is_found_however_small():
    kept = []

    assert (
        looked_at(lambda number: kept.append(torch.zeros(1)))
        == "leak: 1 tensors of every call are kept (over 220 calls)"
    )


def test_leaked_memory_that_python_does_not_know_is_found():
    held = [0]

    def call(_number):
        held[0] += 4096

    assert (
        looked_at(call, held=lambda: held[0])
        == "leak: 4 KiB of every call are kept (over 620 calls)"
    )


def test_real_memory_is_seen():
    kept = []

    def call(_number):
        # not from the heap: there, memory of other tests may be free
        kept.append(mmap.mmap(-1, 65536))
        kept[-1].write(b"x" * 65536)

    found = soak(call, 400, Cpu().held_bytes)

    assert found["bytes_per_call"] == pytest.approx(65536, rel=0.2)


@pytest.mark.parametrize(
    "held",
    [
        lambda look: 10**8 + (look % 3) * 10**6,  # to and fro
        lambda look: 10**8 + 10**8 * (look == 5),  # one look at a bad moment
        lambda look: 10**8 + 10**6 * (look > 1),  # a pool that grew once
        lambda look: 10**8 + 10**5 * min(look, 15),  # pools that fill in the first rounds
        lambda look: None,  # not known
    ],
)
def test_what_does_not_grow_with_every_call_is_no_leak(held):
    looks = iter(range(100))
    cache = {}

    assert (
        looked_at(
            lambda number: cache.setdefault(number % 7, torch.zeros(3)),
            held=lambda: held(next(looks)),
        )
        == ""
    )


def test_only_memory_that_seems_to_be_kept_is_looked_at_again():
    kept, held = [], [0]
    assert soak(lambda number: None, 200, lambda: 0)["calls"] == 220
    assert soak(lambda number: kept.append(torch.zeros(1)), 200, lambda: 0)["calls"] == 220

    def growing(_number):
        held[0] += 4096

    assert soak(growing, 200, lambda: held[0])["calls"] == 620


def test_the_calls_are_numbered():
    numbers = []
    soak(numbers.append, 50, lambda: None)

    assert numbers == list(range(55))
