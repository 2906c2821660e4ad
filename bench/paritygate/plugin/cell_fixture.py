"""The ``cell`` of a test: turns its verdict and its times into failures and skips of that test."""

from __future__ import annotations

from typing import Any

import pytest

from paritygate.core import reasons
from paritygate.core.case import Cell
from paritygate.core.exitstatus import Outcome
from paritygate.core.record import RED, Record, Status, Verdict
from paritygate.plugin import options
from paritygate.plugin.benchmark_bridge import replay
from paritygate.plugin.items import (
    MATRIX,
    OUTCOME,
    VERDICTS,
    cell_of_item,
    is_regression,
    is_throughput,
    kind,
)
from paritygate.session import records

TOLD = pytest.StashKey[dict[tuple[str, str, str], str]]()  # mistake -> the cell that reported it
XDIST_REASON = (
    "pytest-xdist runs cells beside each other, which spoils every time; run without -n to measure"
)


class CellHandle:
    """The value of ``cell`` in a test: the cell's id and record, its check and its timing."""

    def __init__(self, cell: Cell, item: pytest.Item) -> None:
        self._cell, self._item = cell, item
        self._run = item.config.stash[MATRIX]

    @property
    def id(self) -> str:
        """``case-shape-device-backend-dtype``."""
        return self._cell.id

    @property
    def record(self) -> Record:
        """The current record of the cell. Its check runs first, if it has not run yet."""
        return self._run.checked(self._cell)

    def assert_parity(self) -> None:
        """Fail unless the cell's answers agree with the reference."""
        record = self.record
        self._note(record)
        if record.status is Status.OK:
            if record.fixed and options.strict(self._item.config):
                self._fail(
                    record,
                    f"{self.id}: fixed ({record.fixed}); remove it from known_failures",
                )
            return
        if record.known_failure:
            pytest.xfail(
                f"known failure: {record.known_failure} ({reasons.first_line(record.reason)})"
            )
        self._fail(record, self._explain(record))

    def measure(self, benchmark: Any = None) -> None:
        """Time the cell, together with its group, and pass the times to pytest-benchmark's fixture."""
        record = self.record
        off = benchmark is not None and not getattr(benchmark, "enabled", True)
        if record.status is Status.OK and not off:
            record = self._run.measured(self._cell)
        self._note(record)
        if record.status is not Status.OK:
            self._fail(record, self._explain(record))
        if benchmark is not None:
            replay(self._item, benchmark, record)

    def assert_not_slower(self) -> None:
        """Fail if head is slower than the revision of ``--bench-against``. Skip if this cannot be
        decided.
        """
        record = self._item.config.stash[VERDICTS].of(self._cell)
        self._note(record)
        if record.status not in (Status.OK, Status.SKIPPED, Status.UNCHECKED):
            if self._reported_by_parity_item():
                self._skip(record, f"{self.id}: {record.status}: see its test_parity")
            self._fail(record, self._explain(record))
        text = f"{self.id}: {comparison(record)}"
        if record.verdict in RED:
            self._fail(record, text)
        if record.verdict not in (Verdict.SAME, Verdict.IMPROVED):
            self._skip(record, text)

    def _note(self, record: Record, judged: bool = False) -> None:
        self._item.stash[OUTCOME] = Outcome(
            self.id,
            kind(self._item),
            record.status,
            judged,
            record.measured,
            record.verdict if is_regression(self._item) else "",
            bool(record.facts.get("not_known")),
        )

    def _fail(self, record: Record, message: str) -> None:
        self._note(record, judged=True)
        pytest.fail(message, pytrace=False)

    def _explain(self, record: Record) -> str:
        return _explain(record, self._item.config.stash.setdefault(TOLD, {}))

    def _skip(self, record: Record, message: str) -> None:
        """End the test as skipped, with the reason. pytest has no other word for a cell that cannot
        fail here.
        """
        self._note(record)
        pytest.skip(message)

    def skip_if_due(self) -> None:
        """Skip in the fixture, so that ``benchmark`` is never set up for a cell that is not timed."""
        item = self._item
        throughput = is_throughput(item)
        if (throughput or is_regression(item)) and hasattr(item.config, "workerinput"):
            self._skip(records.skipped(self._cell, XDIST_REASON), XDIST_REASON)
        if is_regression(item):
            return
        if (reason := self._identical()) is not None:
            record = records.unchecked_here(self._cell)
            self._skip(record, f"the same on both sides, nothing to check: {reason}")
        record = self.record
        # the reason is this cell's alone, and any of its lines may say what to do
        if record.status is Status.UNCHECKED:
            self._skip(record, f"{self.id}: {record.status}: {record.reason}")
        # many cells share the reason: pytest joins equal skips into one line
        if record.status is Status.SKIPPED:
            self._skip(record, reasons.first_line(record.reason))
        if throughput and record.status is not Status.OK and self._reported_by_parity_item():
            self._skip(record, f"{self.id}: {record.status}: see its test_parity")

    def _identical(self) -> str | None:
        """Return why the gate leaves the cell out, or None."""
        verdicts = self._item.config.stash.get(VERDICTS, None)
        return None if verdicts is None else verdicts.gate.identical.get(self.id)

    def _reported_by_parity_item(self) -> bool:
        """Return whether the cell's test_parity has run and reported that it is not ok.
        ``--benchmark-only``, for example, skips it.
        """
        outcomes = [
            other.stash.get(OUTCOME, None)
            for other in self._item.session.items
            if cell_of_item(other) == self._cell and kind(other) == "parity"
        ]
        return any(outcome is not None and outcome.status is not Status.OK for outcome in outcomes)


def comparison(record: Record) -> str:
    """Return the verdict with its numbers and findings, for a failure or skip message."""
    text = f"{record.verdict}: {record.verdict_reason}"
    if (
        record.effect is not None
        and record.effect_low is not None
        and record.effect_high is not None
    ):
        text += (
            f"; head's time is base's {record.effect:+.1%} ({record.effect_low:+.1%} to {record.effect_high:+.1%}, "
            f"95 %) over {record.launches} launch pairs"
        )
        if record.detectable is not None:
            text += f", a slowdown of {record.detectable:.1%} would have been found"
    return "\n".join([text, *record.findings])


def _explain(record: Record, reported: dict[tuple[str, str, str], str]) -> str:
    """Return what is wrong with a cell. If another cell of its case has reported the same mistake
    in this session, return one line.

    ``reported``: mistake -> the cell that reported it.
    """
    mistake = (record.case, str(record.status), reasons.mistake(record.reason, record.trace))
    first = reported.setdefault(mistake, record.cell)
    if first != record.cell:
        return f"{record.cell}: {record.status} for the same reason as {first}, see above"
    text = f"{record.cell}: {record.status}: {record.reason}"
    return f"{text}\n{record.trace}" if record.trace else text
