"""Large changes are decided by two or three launch pairs, and only where the machine allows it."""

from __future__ import annotations

import csv
import math

import pytest

from paritygate.core.record import Verdict
from paritygate.gate.gross import CHANCE, LIMIT, LOOKS, gross
from paritygate.gate.request import PROFILES
from tests.support.paths import ROOT

NORMAL = PROFILES["normal"]
SLOW, SAME = math.log(1.5), 0.001


def decided(d, others=(), accepted=None):
    return gross(d, [*d.values(), *others], NORMAL, accepted or {})


@pytest.mark.parametrize(("sign", "verdict"), [(1, Verdict.REGRESSED), (-1, Verdict.IMPROVED)])
@pytest.mark.parametrize("launches", LOOKS)
def test_a_single_cell_is_decided_by_two_pairs_or_three(launches, sign, verdict):
    assert decided({"a": [sign * SLOW] * launches}) == {"a": verdict}


@pytest.mark.parametrize("launches", [1, 4])
def test_there_is_no_other_look(launches):
    assert decided({"a": [SLOW] * launches}) == {}


@pytest.mark.parametrize("cells", [3, 100])
def test_many_cells_need_three_pairs(cells):
    others = {f"same {number}": [SAME] * 3 for number in range(cells - 1)}

    assert decided({"a": [SLOW] * 2} | {name: d[:2] for name, d in others.items()}) == {}
    assert decided({"a": [SLOW] * 3} | others) == {"a": Verdict.REGRESSED}


@pytest.mark.parametrize("nearest", [LIMIT - 0.001, 0.0, -SLOW])
def test_every_pair_must_be_beyond_the_limit(nearest):
    assert decided({"a": [SLOW, SLOW, nearest]}) == {}


def test_a_machine_on_which_equal_code_gets_there_decides_nothing_early():
    jumping = [[SLOW, -SLOW, SAME], [SAME, SLOW, SAME], [SAME] * 3]

    assert decided({"a": [SLOW] * 3}, jumping) == {}


def test_other_cells_with_the_same_slowdown_are_no_noise():
    assert decided({"a": [SLOW] * 3, "b": [SLOW] * 3}, [[SAME] * 3]) == {
        "a": Verdict.REGRESSED,
        "b": Verdict.REGRESSED,
    }


def test_the_limit_begins_at_what_is_accepted():
    assert decided({"a": [SLOW] * 3}, accepted={"a": 0.1}) == {"a": Verdict.REGRESSED}
    assert decided({"a": [SLOW] * 3}, accepted={"a": 0.2}) == {}


def rows(name):
    with (ROOT / "reports" / "evidence" / name).open(newline="") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def test_the_limit_is_far_beyond_every_launch_pair_of_equal_code_in_the_evidence():
    """Of n pairs with mean m and sd s, none is beyond m plus s (n - 1) / sqrt(n)."""
    bounds, pairs = [], 0
    for row in rows("aa.csv") + rows("planted.csv"):
        if float(row["planted"]) == 0:
            n = int(row["launches"])
            off = abs(math.log1p(float(row["effect"])))
            bounds.append(off + float(row["sd"]) * (n - 1) / math.sqrt(n))
            pairs += n
    times = {
        (r["launch"], r["cell"], r["side"]): float(r["block_median"])
        for r in rows("laboratory.csv")
    }
    for (launch, cell, side), seconds in times.items():
        if side == "laboratory":
            bounds.append(abs(math.log(times[launch, cell, "laboratory 2"] / seconds)))
            pairs += 1

    assert pairs == 1448
    assert 0.15 < math.expm1(max(bounds)) < 0.20
    assert 3 / pairs / 2 < CHANCE / 9  # the bound at 95 % on what was never seen, in one direction
