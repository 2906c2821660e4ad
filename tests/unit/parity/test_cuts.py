"""Where elements lie: axes and groups of axes; sums by them, and the noise that is fitted to
these.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from paritygate.parity import cuts, noise, sums

SHAPES = [
    ((3, 20), (3, 30)),
    ((2,),),
    ((),) * 3,
    ((8, 64),),
    ((500, 2, 16),) * 4,
    ((2, 3, 17, 20),) * 4,
    ((40, 16),) * 2,
]


def judged(shapes, seed=0):
    """All elements of outputs of these shapes, of many magnitudes, a tenth of them left out."""
    random = np.random.default_rng(seed)
    at = np.arange(sum(int(np.prod(shape)) for shape in shapes))
    at = at[random.random(len(at)) < 0.9]
    size = np.exp(3 * random.standard_normal(len(at)))
    off, own = (np.abs(random.standard_normal(len(at))) * 1e-7 for _ in range(2))
    return cuts.Judged(off, own, size, at, cuts.Grid(tuple(shapes)))


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_an_axis_is_that_of_numpy(shapes):
    grid = cuts.Grid(shapes)
    places = (
        [np.array(place) for place in np.ndindex(len(shapes), *shapes[0])]
        if len(set(shapes)) == 1
        else []
    )
    for axis in grid.axes():
        number = 0 if axis.name == "input set" else int(axis.name.split()[1]) + 1
        if places:
            assert axis.place(np.arange(len(places))).tolist() == [
                place[number] for place in places
            ]
        else:
            sizes = [int(np.prod(shape)) for shape in shapes]
            assert (
                axis.place(np.arange(sum(sizes))).tolist()
                == np.repeat(range(len(sizes)), sizes).tolist()
            )


@pytest.mark.parametrize("most", [0, 10, 10**9])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_the_groups_hold_the_whole_and_every_axis(shapes, most):
    grid = cuts.Grid(shapes)
    at = np.arange(sum(int(np.prod(shape)) for shape in shapes))
    axes = [*grid.axes(), *grid.samples()]
    found = {}
    for group, inside in grid.groups(most):
        place = group.place(at)
        assert place.max(initial=0) < group.length
        found |= {axis.name: axis.place(np.arange(group.length))[place] for axis in inside}
    assert sorted(found) == sorted({"", *(axis.name for axis in axes)})
    assert not found.pop("").any()
    assert all(np.array_equal(found[axis.name], axis.place(at)) for axis in axes)


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_sums_by_an_axis_are_those_of_its_slices(shapes, pieces):
    """Added up piece by piece, where each piece holds other magnitudes, larger and smaller ones,
    and zeros.
    """
    given = judged(shapes)
    given.size[:] *= 10.0 ** (9 * np.sin(np.linspace(0, 6, given.size.size)))
    given.size[::5] = 0.0
    ends = np.linspace(0, given.size.size, pieces + 1).astype(int)
    every = np.arange(given.size.size)
    cut = [given.only((every >= first) & (every < last)) for first, last in pairwise(ends)]
    band, lowest = given.bands
    tally = sums.summed(cut, given.grid, given.size.size)
    assert tally.lowest == lowest
    for axis, found in tally.cuts():
        axes = {one.name: one.place(given.at) for one in given.grid.axes()}
        place = axes.get(axis.name, np.zeros(len(given.at), int))
        assert found.number.shape[1] == band.max() + 1
        for index, part in np.ndindex(*found.number.shape):
            inside = (place == index) & (band == part)
            assert found.number[index, part] == np.count_nonzero(given.size[inside])
            assert found.off[index, part] == pytest.approx((given.off[inside] ** 2).sum())
            assert found.fourth[index, part] == pytest.approx((given.own[inside] ** 4).sum())
            assert found.most_off[index, part] == given.off[inside].max(initial=0)
            assert found.most_own[index, part] == given.own[inside].max(initial=0)
            assert found.most_size[index, part] == given.size[inside].max(initial=0)


@pytest.mark.parametrize("zero", [False, True])
def test_the_bands_with_something_to_look_at(zero):
    size = np.array([1e-3, 1.0, 1e3, 0.0 if zero else 1e3])
    off = size * 1e-6 + np.array([0.0, 1e-5, 0.0, 1e-9 if zero else 0.0])
    given = cuts.Judged(off, off, size, np.arange(4), cuts.Grid(((4,),)))
    tally = sums.summed([given], given.grid, 4, small=2e-6)
    band, _ = given.bands
    assert set(np.flatnonzero(tally.beyond)) == {band[1], *([band[3]] if zero else [])}


def test_noise_of_many_elements_is_fitted_to_some(monkeypatch):
    """Channels and samples that are a hundred times as noisy as others: what is expected is that,
    from either fit.
    """
    random = np.random.default_rng(0)
    shape = (4, 8, 64, 32)
    scale = (
        10 ** random.uniform(-1, 1, (4, 8, 1, 1)) * 10 ** random.uniform(-1, 1, 32) * np.ones(shape)
    )
    size = np.abs(random.standard_normal(shape)).ravel()
    own = (np.abs(random.standard_normal(shape)) * scale * 1e-7).ravel()
    given = cuts.Judged(own, own, size, np.arange(size.size), cuts.Grid((shape[1:],) * 4))
    some = noise.expected(given)
    monkeypatch.setattr(noise, "ENOUGH", 10**9)
    every = noise.expected(given)
    assert not np.array_equal(some.own, every.own)
    assert np.percentile(np.abs(np.log(some.own / every.own)), 99) < 0.3
    loudest = scale.ravel() > np.percentile(scale, 99)
    assert np.median(every.own[loudest] / scale.ravel()[loudest]) == pytest.approx(1e-7, rel=0.3)
    assert np.median(every.own[~loudest]) < np.median(every.own[loudest]) / 3
