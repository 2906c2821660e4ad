"""BUDGETS: how much time a run may take, one row for each budget. ``--bench-budget`` selects
one.
"""

from __future__ import annotations

from dataclasses import dataclass

from paritygate.core.case import BUDGETS as NAMES
from paritygate.core.case import Case, Shape


@dataclass(frozen=True)
class Budget:
    """The limits of one run.

    - ``seconds``: time for the blocks of one cell, over all its launches.
    - ``precision``: measuring stops when the half width of the 95 % interval, relative to the
      median, is at most this.
    - ``launches``: number of fork servers over which the measurements of a group are spread. An
      interval of a ratio needs at least three.
    - ``open_deadline``: seconds that a worker may take to open.
    - ``cold_deadline``: the same where the worker may have to compile or export first.
    - ``energy_seconds``: seconds of calls over which a device's energy is measured, where the
      device counts it. Its counter moves in steps of about 0.1 s.
    - ``mutates``: run the mutation check, once for each case: which wrong weights would the check
      notice?
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
        """Return the shapes of a case that this budget includes. The quick budget includes only the
        first timed shape, and all shapes that are not timed.
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
