"""A site: a page for the newest run of each branch on each machine, an index of them, and Plotly's
script once.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paritygate.core.record import Record, Run
from paritygate_reports.files.writers import replace_whole
from paritygate_reports.renderers.html import TEMPLATES, render, tone
from paritygate_reports.store.database import StoreError
from paritygate_reports.store.store import Store
from paritygate_reports.view.page import page_of
from paritygate_reports.view.table import ending

SCRIPT = "plotly.min.js"


@dataclass(frozen=True)
class Part:
    """The runs of one branch on one machine, the oldest first."""

    machine: str
    branch: str
    runs: Sequence[Run]

    @property
    def file(self) -> str:
        """The name of the page: readable, and different for every machine and branch."""
        digest = hashlib.sha256(f"{self.machine}\n{self.branch}".encode()).hexdigest()[:6]
        words = re.sub(r"[^a-z0-9]+", "-", f"{self.branch} {self.machine}".lower()).strip("-")
        return f"{words[:60]}-{digest}.html"


def parts(store: Store, branches: Sequence[str] | None = None) -> list[Part]:
    """Return the parts of the site, by machine, then by branch. ``branches`` limits them. Raises
    ``StoreError`` for an unknown branch.
    """
    by_name: dict[tuple[str, str], list[Run]] = {}
    for run in store.runs():
        branch = run.branch or "no branch"
        if not branches or branch in branches:
            by_name.setdefault((_machine(run), branch), []).append(run)
    if branches and (unknown := set(branches) - {branch for _, branch in by_name}):
        known = ", ".join(sorted({run.branch or "no branch" for run in store.runs()})) or "none"
        raise StoreError(
            f"{store.name} has no run of branch {sorted(unknown)[0]!r}, its branches are {known}; nothing was written"
        )
    return [Part(machine, branch, runs) for (machine, branch), runs in sorted(by_name.items())]


def write_page(folder: Path, store: Store, part: Part) -> None:
    """Write the page of the newest run. Raises ``OSError``."""
    branch = part.runs[-1].branch
    page = page_of(store, part.runs[-1].id, branch, branch, {run.id for run in part.runs})
    html = render(page, plotly=SCRIPT)
    replace_whole(
        folder / part.file, lambda path: path.write_text(html, "utf-8", "backslashreplace")
    )


def write_index(folder: Path, store: Store, parts: Sequence[Part]) -> None:
    """Write the index, and the script that all pages share. Raises ``OSError``."""
    from plotly.offline import get_plotlyjs

    rows = [(part, _words(store.records(part.runs[-1].id))) for part in parts]
    html = TEMPLATES.get_template("index.html.j2").render(rows=rows, tone=tone, store=store.name)
    replace_whole(folder / SCRIPT, lambda path: path.write_text(get_plotlyjs(), "utf-8"))
    replace_whole(
        folder / "index.html", lambda path: path.write_text(html, "utf-8", "backslashreplace")
    )


def _machine(run: Run) -> str:
    """Return a name for a machine: its processor and the number of cores."""
    facts = run.environment
    return f"{facts.get('cpu') or 'unknown processor'}, {facts.get('cores') or '?'} cores"


def _words(records: Sequence[Record]) -> list[tuple[str, int]]:
    """Return how the cells of a run ended, and how they compared where they were."""
    ended = Counter(map(ending, records))
    verdicts = Counter(record.verdict for record in records if record.verdict)
    return [*ended.most_common(), *verdicts.items()]
