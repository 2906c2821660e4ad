"""Advice: how a stored run stands to runs of other days, the worst cell first. The gate decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paritygate.core.record import Run, Verdict
from paritygate_reports.analysis.baseline import NEEDED, compare
from paritygate_reports.frame import load
from paritygate_reports.store.database import StoreError
from paritygate_reports.view import text
from paritygate_reports.view.gate_lines import WORST_FIRST
from paritygate_reports.view.table import expected_gap

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Sequence

    import pandas as pd

    from paritygate_reports.store.store import Store

BAD = (Verdict.REGRESSED, Verdict.BROKEN, Verdict.MISSING)
"""The verdicts that fail a strict comparison."""


@dataclass(frozen=True)
class Advice:
    """How a run stands to runs of other days; ``frame`` is from ``compare``."""

    head: Run
    against: str  # a branch or a run
    runs: Sequence[Run]  # of that, the oldest first
    frame: pd.DataFrame

    @property
    def rows(self) -> list[dict[Hashable, Any]]:
        """The cells as dicts, the worst first; what is not known is None."""
        place = {str(verdict): number for number, verdict in enumerate(WORST_FIRST)}
        frame = self.frame.astype(object).where(self.frame.notna(), None)
        return sorted(
            frame.to_dict("records"),
            key=lambda row: (place.get(row["verdict"], -1), -(row["effect"] or 0)),
        )

    @property
    def bad(self) -> bool:
        """Whether a cell is slower, broken or missing."""
        return any(row["verdict"] in BAD for row in self.rows)

    @property
    def title(self) -> str:
        """What was compared with what."""
        return f"run {self.head.id[:8]} against {text.counted(len(self.runs), 'run')} of {self.against}"


def advise(
    store: Store,
    against: str,
    head: Run,
    history: pd.DataFrame | None = None,
    among: Collection[str] | None = None,
) -> Advice:
    """How a stored run stands to the runs of a branch before it, or to one run, named as for
    ``Store.find``.

    ``history`` are the records of that branch, for who has loaded them; ``among`` are the ids of
    the runs that count, all unless given. Raises ``StoreError`` where there is no such run, or only
    head itself.
    """
    runs = store.runs()
    if any(run.branch == against for run in runs):
        earlier = runs[: [run.id for run in runs].index(head.id)]
        base = [
            run for run in earlier if run.branch == against and (among is None or run.id in among)
        ]
        history = load(store.url, branch=against, columns=NEEDED) if history is None else history
    else:
        base = [store.find(against)]
        if base[0].id == head.id:
            raise StoreError(
                f"{against!r} means run {head.id[:8]} itself; name a branch or an earlier run"
            )
        history = load(store.url, run=base[0].id, columns=NEEDED)
    history = history[history["run"].isin([run.id for run in base])]
    found = compare(history, load(store.url, run=head.id, columns=NEEDED))
    gaps = {record.cell for record in store.records(head.id) if expected_gap(record)}
    known = found["cell"].isin(gaps)
    found.loc[known, "verdict"] = str(Verdict.NOT_COMPARABLE)
    found.loc[known, "reason"] = "known gap, " + found.loc[known, "reason"]
    return Advice(head, against, base, found)
