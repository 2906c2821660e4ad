"""Compare a stored run with earlier runs, the worst cell first. This is advice; the gate
decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paritygate.core.reasons import counted
from paritygate.core.record import Run, Verdict
from paritygate_reports.analysis.baseline import NEEDED, compare
from paritygate_reports.frame import load
from paritygate_reports.store.database import StoreError
from paritygate_reports.view.gate_lines import WORST_FIRST
from paritygate_reports.view.table import is_known_failure

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Sequence

    import pandas as pd

    from paritygate_reports.store.store import Store

BAD = (Verdict.REGRESSED, Verdict.BROKEN, Verdict.MISSING)
"""The verdicts that fail a strict comparison."""


@dataclass(frozen=True)
class Advice:
    """The comparison of a run with earlier runs. ``frame`` is from ``compare``."""

    head: Run
    baseline: str  # a branch or a run
    runs: Sequence[Run]  # the runs of ``baseline``, the oldest first
    frame: pd.DataFrame

    @property
    def rows(self) -> list[dict[Hashable, Any]]:
        """The cells as dicts, the worst first. Unknown values are None."""
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
        """The run and the runs that it was compared with."""
        return f"run {self.head.id[:8]} against {counted(len(self.runs), 'run')} of {self.baseline}"


def advise(
    store: Store,
    baseline: str,
    head: Run,
    history: pd.DataFrame | None = None,
    among: Collection[str] | None = None,
) -> Advice:
    """Compare a stored run with the earlier runs of a branch, or with one run named as for
    ``Store.find``.

    ``history``: the records of that branch, if they are loaded already. ``among``: the ids of the
    runs that count; the default is all. Raises ``StoreError`` if there is no such run, or if it is
    head itself.
    """
    runs = store.runs()
    if any(run.branch == baseline for run in runs):
        earlier = runs[: [run.id for run in runs].index(head.id)]
        base = [
            run for run in earlier if run.branch == baseline and (among is None or run.id in among)
        ]
        history = load(store.url, branch=baseline, columns=NEEDED) if history is None else history
    else:
        base = [store.find(baseline)]
        if base[0].id == head.id:
            raise StoreError(
                f"{baseline!r} is run {head.id[:8]} itself; name a branch or an earlier run"
            )
        history = load(store.url, run=base[0].id, columns=NEEDED)
    history = history[history["run"].isin([run.id for run in base])]
    compared = compare(history, load(store.url, run=head.id, columns=NEEDED))
    expected = {record.cell for record in store.records(head.id) if is_known_failure(record)}
    known = compared["cell"].isin(expected)
    compared.loc[known, "verdict"] = str(Verdict.NOT_COMPARABLE)
    compared.loc[known, "reason"] = "known failure, " + compared.loc[known, "reason"]
    return Advice(head, baseline, base, compared)
