"""Collect the outcome of every cell test, from which the exit status is made."""

from __future__ import annotations

import pytest

from paritygate.core.exitstatus import Outcome
from paritygate.core.record import Status

TALLY = pytest.StashKey["Tally"]()


class Tally:
    """A plugin of its own. It collects outcomes from reports, also from xdist's workers."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.foreign_failures = 0
        self.cell_functions = 0

    @classmethod
    def of(cls, config: pytest.Config) -> Tally:
        """Return the one of this session. Register it at the first call."""
        if TALLY not in config.stash:
            config.stash[TALLY] = cls()
            config.pluginmanager.register(config.stash[TALLY], "paritygate-tally")
        return config.stash[TALLY]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note our outcome, or the failure of a test that is not ours."""
        found = getattr(report, "paritygate", None)
        if found is not None:
            self.outcomes.append(Outcome(**found | {"status": Status(found["status"])}))
        if report.failed and not (found is not None and found["judged"]):
            self.foreign_failures += 1
