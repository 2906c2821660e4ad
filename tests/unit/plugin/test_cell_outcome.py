"""The outcome that a cell's test leaves with its report, for the exit status."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from paritygate.core.record import Record, Status
from paritygate.plugin.cell_fixture import CellHandle
from paritygate.plugin.items import MATRIX, OUTCOME


@pytest.mark.parametrize("facts", [{}, {"not_known": ["graphs"]}])
def test_a_fact_that_torch_does_not_report_reaches_the_exit_status(facts):
    record = Record(
        "a-b8-cpu-compile-fp32", "a", "b8", "cpu", "compile", "fp32", Status.OK, facts=facts
    )
    config = SimpleNamespace(stash={MATRIX: SimpleNamespace(checked=lambda cell: record)})
    item = SimpleNamespace(config=config, stash={}, fixturenames=())
    CellHandle(SimpleNamespace(id=record.cell), item).assert_parity()

    assert item.stash[OUTCOME].not_known == bool(facts)
