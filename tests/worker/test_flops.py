"""Operations and bytes of a call, counted in a real worker."""

from __future__ import annotations

import pytest

from paritygate.core.record import Status
from tests.support.rig import specimen

NUMBERS = 16 * 32 + 32 + 32 * 4 + 4  # of the specimen's parameters


@pytest.mark.parametrize(
    ("mode", "numbers"),
    [
        ("inference", 8 * 16 + NUMBERS + 8 * 4),
        ("backward", 2 * (8 * 16 + NUMBERS) + 8 * 4),
    ],
)
def test_a_record_tells_the_least_bytes_of_a_call(rig, mode, numbers):
    assert rig.one(specimen(mode=mode)).facts["bytes"] == 4 * numbers


@pytest.mark.parametrize(("mode", "share"), [("inference", 1), ("backward", 3)])
def test_operations_are_counted_in_every_mode(rig, mode, share):
    """A backward has two products for each of the forward's; torch's own counter fails on inputs
    that are leaves.
    """
    assert rig.one(specimen(mode=mode)).flops == share * 2 * 8 * (16 * 32 + 32 * 4)


def test_a_case_tells_its_operations_itself(rig):
    rig.module("told", "def flops(sizes):\n    return 1000 * sizes['batch']\n")
    record = rig.one(specimen(flops="told:flops"))

    assert record.flops == 8000
    assert record.facts["flops_counted"] == 2 * 8 * (16 * 32 + 32 * 4)


def test_operations_that_are_not_there_fail_by_name(rig):
    record = rig.one(specimen(flops="tests.support.specimens:missing"))

    assert record.status is not Status.OK
    assert "missing" in record.reason


def test_operations_that_are_no_number_fail_by_name(rig):
    rig.module("nothing", "def flops(sizes):\n    pass\n")
    record = rig.one(specimen(flops="nothing:flops"))

    assert record.status is not Status.OK
    assert 'flops "nothing:flops" returned a NoneType; it must return a number' in record.reason
