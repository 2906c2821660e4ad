"""cell_tests: the two tests that end a suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from paritygate.core.case import Case, cases_of

if TYPE_CHECKING:
    from paritygate.plugin.cell_fixture import CellHandle


def cell_tests(cases: Sequence[Case]) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the tests ``test_parity`` and ``test_throughput`` for some cases.

    The last line of a suite::

        test_parity, test_throughput = cell_tests(CASES)

    The first checks every cell's answers, the second times every cell that has a speed. They are the same as::

        @pytest.mark.cells(CASES)
        def test_parity(cell):
            cell.assert_parity()

        @pytest.mark.cells(CASES)
        def test_throughput(cell, benchmark):
            cell.measure(benchmark)

    Raises ``DeclarationError`` where ``cases`` is no tuple or list of ``Case``.
    """
    __tracebackhide__ = True  # pytest then shows the line of the suite
    cases = cases_of(cases)

    @pytest.mark.cells(cases)
    def test_parity(cell: CellHandle) -> None:
        cell.assert_parity()

    @pytest.mark.cells(cases)
    def test_throughput(cell: CellHandle, benchmark: Any) -> None:
        cell.measure(benchmark)

    return test_parity, test_throughput
