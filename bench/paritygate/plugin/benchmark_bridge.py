"""Pass times that a worker has measured to pytest-benchmark, so that its table, JSON and compare
work on cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from paritygate.core.record import Record
from paritygate.plugin.items import cell_of_item

CLOCK = pytest.StashKey["ReplayClock"]()


class ReplayClock:
    """A clock for pytest-benchmark that shows times from a worker. It moves only when it is
    advanced.
    """

    __name__ = "worker_clock"

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time shown."""
        return self.now

    def replay(self, times: Iterator[float]) -> None:
        """Advance by the next of the times."""
        self.now += next(times)


class FallbackBenchmark:
    """Replaces pytest-benchmark's fixture under ``-p no:benchmark``. Cells are measured, but no
    table is made.
    """

    @pytest.fixture
    def benchmark(self) -> None:
        """Return None: there is nothing to pass times to."""


def attach_clock(config: pytest.Config, item: pytest.Item) -> None:
    """Give the item a replaying clock, and pytest-benchmark a marker that names it.

    Only the closest ``benchmark`` marker counts there, so a user's own is copied into ours.
    """
    clock = item.stash[CLOCK] = ReplayClock()
    if not config.pluginmanager.hasplugin("benchmark"):
        return
    cell = cell_of_item(item)
    own = item.get_closest_marker("benchmark")
    given = {"group": str(cell.group) if cell else None} | (dict(own.kwargs) if own else {})
    item.add_marker(pytest.mark.benchmark(**given | {"timer": clock}), append=False)
    # A cell that fails before it is measured gives its own reason. The warning about the unused
    # fixture adds nothing.
    item.add_marker(pytest.mark.filterwarnings("ignore:Benchmark fixture was not used at all"))


def replay(item: pytest.Item, benchmark: Any, record: Record) -> None:
    """Have pytest-benchmark's fixture measure the record's samples, one round each."""
    times: Sequence[float] = record.samples or [0.0]
    benchmark.extra_info.update(_extra_info(record))
    benchmark.pedantic(
        item.stash[CLOCK].replay, args=(iter([*times, 0.0]),), rounds=len(times), iterations=1
    )


def _extra_info(record: Record) -> dict[str, Any]:
    names = (
        "throughput",
        "unit",
        "speedup",
        "error",
        "error_share",
        "peak_bytes",
        "prepare_seconds",
        "accuracy",
    )
    plain = {name: getattr(record, name) for name in names if getattr(record, name) is not None}
    facts = {
        name: value
        for name, value in record.facts.items()
        if isinstance(value, str | int | float | bool)
    }
    return {"cell": record.cell, "status": str(record.status)} | plain | {"facts": facts}
