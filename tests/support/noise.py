"""Noise at the level of blocks, for simulations of the gate: what machines do to unchanged code,
and more.

A generator gives ln-times of ``launches`` launch pairs as three arrays: what the machine does in
each slot of time (... x quads x 4 blocks), and what each side's process adds to all of its blocks
(... x launches). Slots are 50 ms.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import lfilter

from paritygate.gate.quads import FEWEST, MOST, enough, quad, trimmed_mean

BLOCK = 0.01  # sd of a block's ln-time
Noise = Callable[[np.random.Generator, tuple[int, ...]], tuple[np.ndarray, np.ndarray]]
# shape is (runs, cells, launches); slots are (..., MOST * 4), processes (2, ...): base's and head's


def _slots(shape):
    return (*shape, MOST * 4)


def _calm(rng, shape):
    return rng.normal(0, 0.002, (2, *shape))


def white(rng, shape):
    return rng.normal(0, BLOCK, _slots(shape)), _calm(rng, shape)


def drift(rng, shape):
    steps = rng.normal(0, 0.2 * BLOCK, _slots(shape)).cumsum(-1)
    return steps + rng.normal(0, BLOCK, _slots(shape)), _calm(rng, shape)


def ar(rng, shape):
    return lfilter([1], [1, -0.7], rng.normal(0, BLOCK, _slots(shape)), axis=-1), _calm(rng, shape)


def process(sd_of_pairs):
    """Processes that differ, as launch pairs do with that sd."""

    def noise(rng, shape):
        return rng.normal(0, BLOCK / 2, _slots(shape)), rng.normal(
            0, sd_of_pairs / np.sqrt(2), (2, *shape)
        )

    return noise


def two_modes(rng, shape):
    return rng.normal(0, BLOCK, _slots(shape)), _calm(rng, shape) + 0.06 * (
        rng.random((2, *shape)) < 0.2
    )


def coarse_modes(rng, shape):
    """A cell may be 50 % slower in a process, e.g. with two threads on one core."""
    return rng.normal(0, BLOCK, _slots(shape)), _calm(rng, shape) + np.log(1.5) * (
        rng.random((2, *shape)) < 0.2
    )


def heavy_tails(rng, shape):
    tails = rng.standard_t(3, _slots(shape)) * BLOCK / 2
    tails[rng.random(_slots(shape)) < 0.01] += 8 * BLOCK
    return tails, rng.standard_t(3, (2, *shape)) * 0.003


def clock_steps(rng, shape):
    """x1.0 and x1.25, staying 0.5 to 30 s: from slot to slot it changes with 0.2 to 10 %."""
    changes = rng.random(_slots(shape)) < np.exp(
        rng.uniform(np.log(1 / 600), np.log(1 / 10), (*shape, 1))
    )
    return np.log(1.25) * (changes.cumsum(-1) % 2) + rng.normal(0, BLOCK, _slots(shape)), _calm(
        rng, shape
    )


def periodic(rng, shape):
    """A neighbour that works one half of a period of 1 to 8 slots."""
    period, phase = rng.uniform(1, 8, (*shape, 1)), rng.random((*shape, 1))
    busy = (np.arange(MOST * 4) / period + phase) % 1 < 0.5
    return 0.04 * busy + rng.normal(0, BLOCK / 2, _slots(shape)), _calm(rng, shape)


def order_penalty(rng, shape):
    """The side that is prepared first is 1 % slower; which one that is, a coin decides for every
    launch.
    """
    first = rng.integers(0, 2, shape)
    return rng.normal(0, BLOCK, _slots(shape)), _calm(rng, shape) + 0.01 * np.stack(
        [first == 0, first == 1]
    )


def common_shocks(rng, shape):
    """One process in each launch is slower in all of its cells."""
    runs, _, launches = shape
    return rng.normal(0, BLOCK, _slots(shape)), _calm(rng, shape) + rng.normal(
        0, 0.005, (2, runs, 1, launches)
    )


def quantised(rng, shape):
    slots, processes = white(rng, shape)
    return np.round(slots / 0.02) * 0.02, processes


def no_noise(_rng, shape):
    return np.zeros(_slots(shape)), np.zeros((2, *shape))


AA = {
    f.__name__: f
    for f in (
        white,
        drift,
        ar,
        two_modes,
        coarse_modes,
        heavy_tails,
        clock_steps,
        periodic,
        order_penalty,
        common_shocks,
    )
} | {"process": process(0.01)}


def launch_values(
    noise: Noise, rng: np.random.Generator, shape: tuple[int, ...], effect: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """D of launch pairs, by the gate's own arithmetic, and the spread within each. ``effect`` is
    ln(head/base).
    """
    slots, processes = noise(rng, shape)
    base_first = rng.integers(0, 2, (*shape, MOST, 1)).astype(bool)  # ABBA or BAAB
    blocks = slots.reshape(*shape, MOST, 4)
    outer, inner = blocks[..., [0, 3]], blocks[..., [1, 2]]
    base = np.where(base_first, outer, inner) + processes[0][..., None, None]
    head = np.where(base_first, inner, outer) + (processes[1] + effect)[..., None, None]
    y = quad(np.exp(base), np.exp(head))
    d, within = np.empty(shape), np.empty(shape)
    waiting = np.ones(shape, bool)
    for n in range(FEWEST, MOST + 1):
        stop = waiting & enough(y[..., :n])
        d[stop], within[stop] = (
            trimmed_mean(y[stop][:, :n]),
            y[stop][:, :n].std(-1, ddof=1) / np.sqrt(n),
        )
        waiting &= ~stop
    return d, within
