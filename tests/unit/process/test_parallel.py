"""Several waits at once: all are made, and one that fails does not leave the others waiting."""

from __future__ import annotations

import threading

import pytest

from paritygate.process.parallel import together


def test_all_calls_are_made_two_at_a_time():
    both, done = threading.Barrier(2, timeout=10), []

    def call(number):
        both.wait()  # passes only when two are here at once
        done.append(number)

    together([lambda number=number: call(number) for number in range(4)], end=pytest.fail)

    assert sorted(done) == [0, 1, 2, 3]


def test_where_one_fails_the_other_is_ended():
    ended = threading.Event()

    def fail():
        raise ValueError("no such luck")

    with pytest.raises(ValueError, match="no such luck"):
        together([fail, lambda: ended.wait(10)], end=ended.set)
    assert ended.is_set()
