"""One launch pair: both sides in quads of either order, the same plan, and as many as their spread
asks for.
"""

from __future__ import annotations

import math
import random

import pytest

from paritygate.gate import launch_pair, quads
from paritygate.timing.schedule import WorkerDroppedError
from tests.support.fakes import FakeClock, FakeTimedWorker, cycle


def measured(base, head, clock=None, seed=0):
    return launch_pair.measure(base, head, random.Random(seed), clock or base.clock)


def sides(base, head):
    clock, log = FakeClock(), []
    return (
        FakeTimedWorker(base, clock, name="A", log=log),
        FakeTimedWorker(head, clock, name="B", log=log),
        log,
    )


def test_the_ratio_comes_out_of_quads_in_both_orders():
    base, head, log = sides(1e-3, 1.1e-3)
    found = measured(base, head)

    assert found.d == pytest.approx(math.log(1.1))
    assert len(found.quads) == quads.FEWEST
    quads_of_log = ["".join(log[-4 * n : -4 * (n - 1) or None]) for n in range(quads.FEWEST, 0, -1)]
    assert set(quads_of_log) <= set(quads.ORDERS)
    assert found.orders == quads_of_log
    orders = {
        order for seed in range(20) for order in measured(*sides(1e-3, 1e-3)[:2], seed=seed).orders
    }
    assert orders == set(quads.ORDERS)


def test_both_sides_run_the_same_number_of_calls():
    base, head, _ = sides(1e-3, 1.3e-3)
    measured(base, head)

    assert base.plans[-1] == head.plans[-1]


def test_a_restless_pair_gets_more_quads_up_to_a_limit():
    base, head, _ = sides(cycle(1e-3, 1.05e-3, 0.97e-3), cycle(1e-3, 1.04e-3, 0.95e-3, 1.01e-3))

    assert len(measured(base, head).quads) == quads.MOST


@pytest.mark.parametrize("gone", [0, 2, 9])
def test_a_side_that_drops_out_ends_the_pair(gone):
    clock = FakeClock()
    with pytest.raises(WorkerDroppedError, match="h is gone"):
        measured(FakeTimedWorker(1e-3, clock), FakeTimedWorker(1e-3, clock, name="h", gone=gone))


def test_cycles_are_a_second_witness_that_a_lower_clock_does_not_move():
    clock = FakeClock()
    base = FakeTimedWorker(1e-3, clock, name="A", clocks=lambda number: 1980)
    head = FakeTimedWorker(1.03e-3, clock, name="B", clocks=lambda number: 1922)

    found = measured(base, head)
    assert found.d == pytest.approx(math.log(1.03))
    assert found.cycles == pytest.approx(0.0, abs=1e-3)


def test_without_a_clock_to_be_read_cycles_say_what_time_says():
    clock = FakeClock()
    found = measured(
        FakeTimedWorker(1e-3, clock, name="A"), FakeTimedWorker(1.03e-3, clock, name="B")
    )

    assert found.cycles == found.d


def test_the_clock_of_the_warm_up_is_no_witness():
    """Who is warmed first meets a colder device, whose clock is higher."""
    clock = FakeClock()
    base = FakeTimedWorker(
        1e-3, clock, name="A", clocks=lambda number: 1980 if number < 4 else 1900
    )
    head = FakeTimedWorker(1e-3, clock, name="B", clocks=lambda number: 1900)

    found = measured(base, head)
    assert len(base.plans) > 4
    assert set(base.mhz) == {1900}
    assert found.clock == 0.0


def test_what_held_the_clock_down_on_either_side_is_told():
    clock = FakeClock()
    base = FakeTimedWorker(
        1e-3, clock, name="A", cut=lambda number: ["HwSlowdown"] if number == 0 else ["SwPowerCap"]
    )
    head = FakeTimedWorker(
        1e-3, clock, name="B", cut=lambda number: ["SwPowerCap", "HwThermal"] if number > 6 else []
    )

    assert measured(base, head).held == ("SwPowerCap", "HwThermal"), (
        "while the pair was measured, not warmed up"
    )


def test_equal_sides_have_blocks_of_the_same_plan():
    clock = FakeClock()
    base, head = FakeTimedWorker(1e-3, clock), FakeTimedWorker(1.4e-3, clock)
    found = measured(base, head)

    assert base.plans[-4:] == head.plans[-4:]
    assert found.d == pytest.approx(math.log(1.4))


@pytest.mark.parametrize(("slow", "quick"), [(4e-3, 1e-5), (0.3, 1e-4)])
def test_a_side_that_is_many_times_as_fast_does_not_make_the_others_blocks_long(slow, quick):
    for times in ((slow, quick), (quick, slow)):
        clock = FakeClock()
        base, head = (FakeTimedWorker(seconds, clock) for seconds in times)
        found = measured(base, head)

        assert found.d == pytest.approx(math.log(times[1] / times[0]))
        for side, seconds in ((base, times[0]), (head, times[1])):
            plan = side.plans[-1]
            assert seconds * plan.calls * plan.samples <= max(4 * launch_pair.BLOCK, 3 * seconds)
