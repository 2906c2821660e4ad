"""The work of a cell: what a suite may change without making another cell of it, and what not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paritygate.core import work
from paritygate.core.case import Case, Target, cell_of

CASE = Case("a", model="m:M", inputs="m:i", shapes={"b8": {"batch": 8, "seq": 4}})


def of(case, backend="eager"):
    return work.work(cell_of(case, case.all_shapes()[0], Target("cpu", backend, "fp32")))


@pytest.mark.parametrize(
    "changed",
    [
        {"tolerated": 0.2},
        {"known_failures": {"*": "why"}},
        {"unit": "image"},
        {"shapes": {"b8": {"seq": 4, "batch": 8}}},
        {"variants": {"other": "m:other"}},  # of another backend
    ],
)
def test_other_declarations_are_the_same_work(changed):
    assert work.difference(of(CASE), of(replace(CASE, **changed))) == ""


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"shapes": {"b8": {"batch": 16, "seq": 4}}}, "size batch: 8 -> 16"),
        ({"shapes": {"b8": {"batch": 8}}, "count": ("batch",)}, "size seq: 4 -> None"),
        ({"model": "m:N"}, "model: m:M -> m:N"),
        ({"inputs": "m:j"}, "inputs: m:i -> m:j"),
        ({"mode": "backward"}, "mode: inference -> backward"),
        ({"preprocess": "m:p"}, "preprocess: None -> m:p"),
    ],
)
def test_other_work_is_told(changed, told):
    assert work.difference(of(CASE), of(replace(CASE, **changed))) == told


def test_a_variant_is_the_work_of_its_backend():
    first, second = ({"variants": {"mine": f"m:{name}"}} for name in ("one", "two"))
    cells = [of(replace(CASE, **variants), "mine") for variants in (first, second)]

    assert work.difference(*cells) == "variant: m:one -> m:two"


def test_the_file_of_a_collection_is_read_back(tmp_path):
    cell = cell_of(CASE, CASE.all_shapes()[0], Target("cpu", "eager", "fp32"))
    work.write(tmp_path / "cells.json", [cell])

    assert work.read(tmp_path / "cells.json") == {cell.id: work.work(cell)}
    assert work.read(tmp_path / "none.json") == {}
