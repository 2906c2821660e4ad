"""The ``cell`` of a test: its verdict on answers and its times, as failures and skips of that test."""

from __future__ import annotations

from typing import Any

import pytest

from bench import options
from bench.case import Cell
from bench.exitstatus import Outcome
from bench.items import MATRIX, OUTCOME, cell_of_item, is_throughput
from bench.record import Record, Status
from bench.replay import replay

XDIST_REASON = "pytest-xdist runs cells beside each other, which spoils every time; run without -n to measure"


class CellHandle:
    """What a test gets as ``cell``: the cell's id and record, and the two things to ask of it."""

    def __init__(self, cell: Cell, item: pytest.Item) -> None:
        self._cell, self._item = cell, item
        self._matrix = item.config.stash[MATRIX]

    @property
    def id(self) -> str:
        """``case-shape-device-backend-dtype``."""
        return self._cell.id

    @property
    def record(self) -> Record:
        """What is known of the cell so far."""
        return self._matrix.checked(self._cell)

    def assert_parity(self) -> None:
        """Fail unless the cell's answers agree with the reference."""
        record = self.record
        self._note(record)
        if record.status is Status.OK:
            if "gap_closed" in record.facts and options.strict(self._item.config):
                self._fail(record, f"{self.id}: gap closed ({record.facts['gap_closed']}); remove it from known_gaps")
            return
        if record.facts.get("known_gap"):
            pytest.xfail(f"known gap: {record.facts['known_gap']} ({record.reason})")
        self._fail(record, _explain(record))

    def measure(self, benchmark: Any = None) -> None:
        """Time the cell, together with its group, and hand the times to pytest-benchmark's fixture."""
        record = self.record
        off = benchmark is not None and not getattr(benchmark, "enabled", True)
        if record.status is Status.OK and not off:
            record = self._matrix.measured(self._cell)
        self._note(record)
        if record.status is not Status.OK:
            self._fail(record, _explain(record))
        if benchmark is not None:
            replay(self._item, benchmark, record)

    def _note(self, record: Record, judged: bool = False) -> None:
        self._item.stash[OUTCOME] = Outcome(
            self.id, "throughput" if is_throughput(self._item) else "parity", record.status, judged,
            record.measured, "gap_closed" in record.facts,
        )  # fmt: skip

    def _fail(self, record: Record, message: str) -> None:
        self._note(record, judged=True)
        pytest.fail(message, pytrace=False)

    def skip_if_due(self) -> None:
        """Skip here, in the fixture, so that ``benchmark`` is never set up for a cell that is not timed."""
        item = self._item
        throughput = is_throughput(item)
        if throughput and hasattr(item.config, "workerinput"):
            record = Record(self.id, "", "", "", "", "", Status.SKIPPED)
            self._note(record)
            pytest.skip(XDIST_REASON)
        record = self.record
        if record.status in (Status.SKIPPED, Status.UNCHECKED):
            self._note(record)
            pytest.skip(record.reason)
        if throughput and record.status is not Status.OK and self._told_by_parity_item():
            self._note(record)
            pytest.skip(f"{record.status}: see its test_parity")

    def _told_by_parity_item(self) -> bool:
        """Whether the cell's test_parity has run and told that it is not ok; ``--benchmark-only`` skips it, say."""
        told = [other.stash.get(OUTCOME, None) for other in self._item.session.items
                if cell_of_item(other) == self._cell and not is_throughput(other)]  # fmt: skip
        return any(outcome is not None and outcome.status is not Status.OK for outcome in told)


def _explain(record: Record) -> str:
    text = f"{record.cell}: {record.status}: {record.reason}"
    trace = record.facts.get("trace", "")
    return f"{text}\n{trace}" if trace else text
