"""A torch that lacks every private name that the harness reads: a cell is ok and says what is not known."""

from __future__ import annotations

import pytest

from paritygate.core.case import Case
from paritygate.core.record import Status

# torch's own, of modules that preload imports
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_a_real_cell_of_a_torch_without_any_of_them_is_ok_and_says_so(rig):
    rig.module(
        "ignorant",
        """
from torch import nn
from paritygate.runtime import private

private.read = lambda name: None  # in the worker of the cell, which imports the model


def net():
    return nn.Linear(16, 4)


def inputs(sizes, generator):
    import torch

    return (torch.randn(sizes["batch"], 16, generator=generator),)
""",
    )
    case = Case(
        "ignorant", model="ignorant:net", inputs="ignorant:inputs", shapes={"b8": {"batch": 8}}
    )
    record = rig.run(case, "eager", "compile", timed=True)["compile"]
    assert (record.status, record.reason) == (Status.OK, "")
    assert record.measured
    assert record.facts["not_known"] == [
        "errors while compiling",
        "the recompile limit",
        "graphs",
        "graph breaks",
        "recompiles",
        "which functions were compiled",
    ]
    assert not {"graphs", "graph_breaks", "recompiles", "cache_hits"} & set(record.facts)
    assert [
        text for text in record.warnings if text.startswith("not known: this release of torch ")
    ]
