"""The engine that measures, against timed workers whose times are known."""

import random
import statistics
from collections import Counter

import numpy as np
import pytest
import scipy.stats

from paritygate.timing import schedule
from paritygate.timing.schedule import (
    Plan,
    Timing,
    measure,
    median_interval,
    over_launches,
    plan,
    quantile,
    ratio,
)
from tests.support.fakes import FakeClock, FakeTimedWorker, cycle


def race(timed_workers, seconds=0.5, precision=0.03, **options):
    clock = next(iter(timed_workers.values())).clock
    return measure(
        timed_workers,
        seconds=seconds,
        precision=precision,
        rng=random.Random(0),
        clock=clock,
        **options,
    )


def alone(each, **options):
    timed_worker = FakeTimedWorker(each)
    return race({"one": timed_worker}, **options)["one"], timed_worker


def timed(blocks, rounds=None):
    return Timing(Plan(1, 1), blocks=list(blocks), rounds=list(rounds or range(len(blocks))))


@pytest.mark.parametrize(
    "seconds", [0.0, 1e-9, 8.7e-6, 1e-4, 199e-6, 201e-6, 3e-3, 0.02, 0.0999, 0.1, 0.3, 15.0]
)
def test_a_block_is_50_ms_of_samples_that_are_long_enough(seconds):
    found = plan(seconds)
    assert found.calls * max(seconds, 1e-9) >= schedule.SAMPLE_SECONDS * 0.999
    assert found.calls == 1 or (found.calls - 1) * max(seconds, 1e-9) < schedule.SAMPLE_SECONDS, (
        "no longer than needed"
    )
    assert found.samples >= (1 if seconds >= schedule.SLOW_CALL else 3)
    if seconds < schedule.BLOCK_SECONDS / 3:
        assert found.calls * found.samples * max(seconds, 1e-9) == pytest.approx(
            schedule.BLOCK_SECONDS, rel=0.2
        )


def test_warming_up_ends_when_three_blocks_in_a_row_agree():
    slow_start = [1.0, 0.5, 0.4, 0.3, 0.2, 0.2, 0.2]
    timed_worker = FakeTimedWorker(lambda block: slow_start[min(block, 6)] * 1e-3)
    found = race({"one": timed_worker}, precision=1.0)["one"]
    assert found.warm
    assert found.blocks[0] == pytest.approx(2e-4)
    warm_up = len(timed_worker.plans) - len(found.blocks)
    assert warm_up == 7  # the single call, and blocks until 0.2, 0.2, 0.2


def test_warming_up_gives_up_after_its_time_and_says_so():
    found, timed_worker = alone(cycle(1e-3, 2e-3))
    assert not found.warm
    assert timed_worker.clock.now < 1.0 + found.spent + 0.5, (
        "0.5 s or twice the budget, and a block"
    )
    assert found.blocks, "it is measured all the same"


def test_warming_up_lasts_until_the_device_has_worked_long_enough():
    steady = FakeTimedWorker(0.001)
    clock = steady.clock
    schedule.warm_up(steady, clock, limit=0.1, busy=0.5)

    assert 0.5 <= clock.now < 0.6, "its blocks agree from the third on"


def test_a_device_that_gets_no_work_done_is_given_up_too():
    erratic = FakeTimedWorker(cycle(0.001, 0.01))
    found = schedule.warm_up(erratic, erratic.clock, limit=0.1, busy=0.5)

    assert not found.warm
    assert erratic.clock.now == pytest.approx(0.6, abs=0.1)


def test_warming_up_lasts_until_the_devices_clock_is_steady_too():
    rising = FakeTimedWorker(1e-3, clocks=lambda number: min(1980, 1000 + 50 * number))
    found = schedule.warm_up(rising, rising.clock, limit=10.0)

    assert found.warm
    last = len(rising.plans) - 1
    assert [rising.clocks(last - before) for before in (2, 1, 0)] == [1950, 1980, 1980]
    assert rising.mhz == [], "it begins with what counts"


def test_measuring_stops_when_the_interval_is_narrow_enough():
    found, _ = alone(1e-3)
    assert found.stop == "precision"
    assert len(found.blocks) == schedule.INTERVAL_ROUNDS, "fewer have no interval"


def test_measuring_stops_when_the_budget_is_spent():
    found, _ = alone(cycle(1e-3, 1.2e-3), seconds=2.0, precision=0.001)
    assert found.stop == "budget"
    longest = schedule.BLOCK_SECONDS * 1.3
    assert 2.0 <= found.spent <= 2.0 + longest


def test_no_budget_is_too_small_for_three_rounds():
    found, _ = alone(1.0, seconds=0.01)
    assert found.stop == "budget"
    assert len(found.blocks) == schedule.MIN_ROUNDS


def test_every_round_holds_one_block_of_each_in_random_order():
    clock, log = FakeClock(), []
    timed_workers = {
        name: FakeTimedWorker(cycle(1e-3, 1.1e-3, 1.3e-3), clock, name=name, log=log)
        for name in ("a", "b", "c")
    }
    found = race(timed_workers, seconds=3.0, precision=1e-6)
    rounds = len(found["a"].blocks)
    assert rounds >= 30
    assert all(one.rounds == list(range(rounds)) for one in found.values())
    measured = log[-3 * rounds :]
    orders = Counter(tuple(measured[i : i + 3]) for i in range(0, len(measured), 3))
    assert all(sorted(order) == ["a", "b", "c"] for order in orders), "each once a round"
    assert len(orders) == 6, "every order turns up"


def test_a_contestant_that_is_done_stays_in_until_all_are():
    clock = FakeClock()
    found = race(
        {"calm": FakeTimedWorker(1e-3, clock), "wild": FakeTimedWorker(cycle(1e-3, 2e-3), clock)},
        seconds=1.0,
    )
    assert (found["calm"].stop, found["wild"].stop) == ("precision", "budget")
    assert found["calm"].rounds == found["wild"].rounds


@pytest.mark.parametrize("gone", [0, 2, 8])
def test_a_contestant_that_drops_out_leaves_alone(gone):
    clock = FakeClock()
    timed_workers = {
        "stays": FakeTimedWorker(1e-3, clock),
        "leaves": FakeTimedWorker(1e-3, clock, name="b", gone=gone),
    }
    found = race(timed_workers)
    assert str(found["leaves"].dropped) == "b is gone"
    assert len(timed_workers["leaves"].plans) == gone
    assert found["stays"].dropped is None
    assert found["stays"].stop == "precision"


def test_progress_grows_from_nothing_to_all():
    heard = []
    alone(cycle(1e-3, 1.5e-3), seconds=1.0, precision=1e-6, on_progress=heard.append)
    assert heard == sorted(heard)
    assert heard[0] == 0
    assert 0.8 < heard[-1] <= 1


def test_at_most_2000_samples_are_kept_and_each_with_the_same_chance():
    kept = Counter()
    rng = random.Random(1)
    for _ in range(60):
        one = Timing(Plan(1, 1))
        for start in range(0, 10_000, 500):
            schedule._keep(one, range(start, start + 500), rng)
        assert len(one.samples) == schedule.KEPT_SAMPLES
        assert one.seen == 10_000
        kept.update(int(sample) // 1000 for sample in one.samples)
    shares = [kept[tenth] for tenth in range(10)]
    assert scipy.stats.chisquare(shares).pvalue > 1e-4, shares


def test_intervals_of_the_median_are_those_of_the_tables():
    # Hahn & Meeker; ranks of the 95 % interval: n=6 -> 1, 6; n=10 -> 2, 9; n=20 -> 6, 15; n=50 ->
    # 18, 33
    for n, low, high in ((6, 1, 6), (10, 2, 9), (20, 6, 15), (50, 18, 33)):
        values = list(range(1, n + 1))
        random.Random(n).shuffle(values)
        assert median_interval(values) == (low, high), n
    assert median_interval([1, 2, 3, 4, 5]) is None


@pytest.mark.parametrize("n", [6, 7, 12, 25])
def test_the_interval_of_the_median_holds_it_at_least_as_often_as_promised(n):
    rng = np.random.default_rng(n)
    draws = rng.lognormal(size=(4000, n))
    held = sum(low <= 1.0 <= high for low, high in map(median_interval, draws.tolist()))
    assert held / 4000 >= 0.95 - 3 * (0.05 * 0.95 / 4000) ** 0.5


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_quantiles_are_numpys(n):
    values = np.random.default_rng(n).exponential(size=n)
    for share in (0.0, 0.05, 0.5, 0.9, 0.99, 1.0):
        assert quantile(values.tolist(), share) == pytest.approx(
            np.quantile(values, share), rel=1e-12
        )


def test_ratios_are_taken_within_rounds_so_that_drift_cancels():
    drift = [1.0, 1.5, 2.0, 2.5, 3.0]
    assert ratio(timed([2 * d for d in drift]), timed(drift)) == pytest.approx(2.0)
    assert ratio(timed([2.0, 5.0], [0, 4]), timed(drift)) == pytest.approx((2.0 * 5.0 / 3.0) ** 0.5)
    assert ratio(timed([2.0], [7]), timed(drift)) is None, "no round in common"


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_interval_over_launches_is_students(n):
    ratios = np.random.default_rng(n).lognormal(0.3, 0.02, n)
    middle, low, high = over_launches(ratios.tolist())
    wanted = scipy.stats.t.interval(
        0.95, n - 1, np.log(ratios).mean(), scipy.stats.sem(np.log(ratios))
    )
    assert middle == pytest.approx(scipy.stats.gmean(ratios))
    assert (low, high) == pytest.approx(tuple(np.exp(wanted)), rel=1e-4)


def test_fewer_than_three_launches_have_no_interval():
    assert over_launches([1.3]) == (pytest.approx(1.3), None, None)
    assert over_launches([1.0, 4.0]) == (pytest.approx(2.0), None, None)


def test_the_value_of_a_block_is_the_mean_of_its_samples():
    class Uneven(FakeTimedWorker):
        def block(self, calls, samples):
            super().block(calls, samples)
            return [1e-3] * (samples - 1) + [5e-3]

    found = race({"one": Uneven(1e-3)})["one"]
    n = found.plan.samples
    assert found.blocks[0] == pytest.approx((1e-3 * (n - 1) + 5e-3) / n)
    assert statistics.median(found.samples) == 1e-3
