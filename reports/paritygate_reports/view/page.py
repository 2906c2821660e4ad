"""Page: the content of one HTML report, as values, from a store or from a single run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paritygate.core.record import Record, Run

if TYPE_CHECKING:
    import pandas as pd

    from paritygate_reports.analysis.against_history import Advice
    from paritygate_reports.store.store import Store

HISTORY = (
    "run",
    "started",
    "commit",
    "branch",
    "cell",
    "status",
    "reason",
    "latency_p50",
    "machine",
    "calibration",
)
"""The columns of trends and comparison: few, since there may be a million rows."""


@dataclass(frozen=True)
class Page:
    """One run with its history, where there is one. ``changes`` has the columns of
    ``changepoints``.
    """

    run: Run
    records: Sequence[Record]
    places: Sequence[str] = ()  # lines: where the records are
    advice: Advice | None = None
    branch: str = ""  # the branch of the trends, "" for all
    trends: Sequence[pd.DataFrame] = ()  # one frame for each cell and machine, the oldest run first
    changes: pd.DataFrame | None = None


def page_of(
    store: Store,
    name: str = "latest",
    baseline: str | None = None,
    branch: str | None = None,
    runs: Collection[str] | None = None,
) -> Page:
    """Return the page of a run, named as for ``Store.find``.

    It is compared with ``baseline``, a branch or a run. The trends are those of ``branch`` up to the
    run. The default of both is the branch with the most runs. ``runs``: the ids that the trends may
    hold; the default is all. Raises ``StoreError`` if there is no such run or branch.
    """
    import pandas as pd

    from paritygate_reports.analysis.against_history import advise
    from paritygate_reports.analysis.change_points import changepoints_in, histories
    from paritygate_reports.frame import load
    from paritygate_reports.store.database import StoreError

    run, branches = store.find(name), [known.branch for known in store.runs() if known.branch]
    if branch and branch not in branches:
        raise StoreError(
            f"{store.name} has no run of branch {branch!r}; it has {', '.join(dict.fromkeys(branches))}"
        )
    if runs is None and branch is None:
        branch = usual_branch(store)
    history = load(store.url, branch=branch, columns=HISTORY)
    compared = baseline or branch
    loaded = history if compared == branch else None
    try:
        advice = advise(store, compared, run, loaded, runs) if compared else None
    except StoreError:
        if baseline:
            raise
        advice = None
    history = history[history["started"] <= pd.Timestamp(run.started)]
    trends = list(histories(history if runs is None else history[history["run"].isin(runs)]))
    records, place = store.records(run.id, samples=True), f"records: {store.name}, run {run.id}"
    return Page(run, records, [place], advice, branch or "", trends, changepoints_in(trends))


def usual_branch(store: Store) -> str | None:
    """Return the branch with the most runs, the newer one of two equals; None if no run has a
    branch.
    """
    branches = [run.branch for run in store.runs() if run.branch]
    return max(reversed(list(dict.fromkeys(branches))), key=branches.count, default=None)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (fact, before, after) where two environments differ. Results of a run, e.g. its
    duration, do not count.
    """
    names = sorted(
        {*before, *after}
        - {"gate", "total_seconds", "exit_status", "started_at", "load_at_start", "calibration"}
        - {"shards"}
    )
    return [
        (name, str(before.get(name, "")), str(after.get(name, "")))
        for name in names
        if before.get(name) != after.get(name)
    ]
