"""BUDGETS: how much time a run may take, as rows; ``--bench-budget`` names one."""

from __future__ import annotations

from dataclasses import dataclass

from paritygate.core.case import BUDGETS as NAMES
from paritygate.core.case import Case, Shape


@dataclass(frozen=True)
class Budget:
    """Limits of one run.

    ``seconds``: blocks of one cell, in all its launches. ``precision``: half width of the 95 %
    interval, relative, at which measuring stops. ``launches``: fork servers that the measuring of a
    group is spread over; intervals of ratios need at least three. ``open_deadline``: seconds for a
    worker to open;
    ``cold_deadline`` where it may have to compile or export first. ``energy_seconds``: of calls
    over which a device's energy is counted, where it counts any; its counter moves in steps of some
    0.1 s. ``mutates``: measure once a case which weights the check would notice.
    """

    name: str
    seconds: float
    precision: float
    launches: int
    open_deadline: float
    cold_deadline: float = 600.0
    energy_seconds: float = 0.0
    mutates: bool = True

    def shapes(self, case: Case) -> list[Shape]:
        """The shapes of a case that this budget includes: of the timed ones, quick takes the first
        only.
        """
        reach = NAMES.index(self.name)
        within = [shape for shape in case.all_shapes() if NAMES.index(shape.budget) <= reach]
        if self.name != "quick":
            return within
        first = next((shape for shape in within if shape.timed), None)
        return [shape for shape in within if shape is first or not shape.timed]


BUDGETS = {
    budget.name: budget
    for budget in (
        Budget("quick", seconds=0.3, precision=0.03, launches=1, open_deadline=60.0, mutates=False),
        Budget(
            "normal",
            seconds=2.0,
            precision=0.01,
            launches=3,
            open_deadline=180.0,
            energy_seconds=3.0,
        ),
        Budget(
            "long",
            seconds=10.0,
            precision=0.005,
            launches=5,
            open_deadline=600.0,
            energy_seconds=10.0,
        ),
    )
}
