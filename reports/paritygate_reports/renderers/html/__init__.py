"""The report as one HTML file that needs no network. Jinja2 escapes texts, Plotly draws, and a
policy forbids the page to fetch anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jinja2

from paritygate.core.reasons import counted, first_line
from paritygate.core.record import RED, Record, Status, Verdict
from paritygate_reports.analysis import against_history
from paritygate_reports.analysis.change_points import changes_in, titles
from paritygate_reports.view import charts, table, text
from paritygate_reports.view.page import Page, differences
from paritygate_reports.view.sections import conclusion, headline, passed, sections, summary

if TYPE_CHECKING:
    import pandas as pd

TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("paritygate_reports.renderers.html", "."),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
MARKS = {"good": "✓", "bad": "✗", "unknown": "?", "": "–"}
BAD_WORDS = {*table.BAD, *against_history.BAD, *RED}
UNKNOWN_WORDS = {
    Verdict.INCONCLUSIVE,
    Verdict.NOT_COMPARABLE,
    Verdict.NEW,
    Status.UNCHECKED,
    Status.SKIPPED,
    table.KNOWN_FAILURE,
}


def _digits(value: float | None) -> str:
    return "" if value is None else text.digits(value, 2)


def _share(value: float | None) -> str:
    return "" if value is None else text.fine_percent(value)


COLUMNS: tuple[
    tuple[str, str, Callable[..., str]], ...
] = (  # columns of the raw table: title, field, function that shows it
    ("cell", "cell", str),
    ("status", "status", str),
    ("verdict", "verdict", str),
    ("per s", "throughput", text.rate),
    ("unit", "unit", str),
    ("p50, s", "latency_p50", text.error),
    ("p99, s", "latency_p99", text.error),
    ("vs eager", "speedup", text.ratio),
    ("of allowed error", "error_share", text.percent),
    ("accuracy", "accuracy", _share),
    ("memory", "peak_bytes", text.memory),
    ("warm, s", "prepare_seconds", _digits),
    ("cold, s", "prepare_cold_seconds", _digits),
    ("reason", "reason", first_line),
)


def render(page: Page, plotly: str = "") -> str:
    """Return the page as HTML. ``plotly``: the address of Plotly's script; without it the script is
    included in the page.
    """
    from plotly.offline import get_plotlyjs

    base = page.advice.runs[-1] if page.advice and page.advice.runs else None
    return TEMPLATES.get_template("page.html.j2").render(
        title=headline(page.run),
        conclusion=conclusion(page.run, page.records),
        good=passed(page.run, page.records),
        summary=summary(page.run, page.records),
        cards=_cards(page),
        sections=sections(page.run, page.records),
        figures=_figures(page),
        choices=_choices(page),
        changes=[] if page.changes is None else _dicts(page.changes),
        advice=page.advice if page.advice and page.advice.runs else None,
        branch=page.branch,
        base=base,
        differing=[] if base is None else differences(base.environment, page.run.environment),
        environment={
            name: str(value)
            for name, value in sorted(page.run.environment.items())
            if name != "gate"
        },
        columns=[title for title, *_ in COLUMNS],
        rows=[_table_row(record) for record in page.records],
        places=page.places,
        tone=tone,
        marks=MARKS,
        text=text,
        counted=counted,
        plotly=plotly,
        plotly_code="" if plotly else get_plotlyjs(),
    )


def tone(word: str) -> str:
    """Return ``good``, ``bad`` or ``unknown`` for a status or a verdict, "" for an empty one."""
    if word in BAD_WORDS:
        return "bad"
    if word in UNKNOWN_WORDS:
        return "unknown"
    return "good" if word else ""


def _cards(page: Page) -> list[tuple[str, int, str]]:
    """Return (word, number of cells, tone), the worst first: how the cells ended, and how they
    compare.
    """
    statuses = Counter(map(table.ending, page.records))
    verdicts = Counter(record.verdict for record in page.records if record.verdict)
    if not verdicts and page.advice is not None and page.advice.runs:
        verdicts = Counter(row["verdict"] for row in page.advice.rows)
    cards = [(word, count, tone(word)) for word, count in (statuses + verdicts).items()]
    return sorted(
        cards,
        key=lambda card: (("bad", "unknown", "good").index(card[2]), card[0] == "ok", -card[1]),
    )


def _figures(page: Page) -> dict[str, charts.Figure]:
    """Return name -> figure, for figures that have something to show."""
    records = page.records
    figures = {
        "speed": charts.speed_map(records),
        "parity": charts.parity(records),
        "memory": charts.memory(records),
        "prepare": charts.prepare(records),
        "effects": None if page.advice is None else charts.effects(page.advice.frame),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def _choices(page: Page) -> dict[str, dict[str, dict[str, charts.Figure]]]:
    """Return chooser -> choice -> name -> figure: figures that are drawn for one choice at a
    time.
    """
    timed = {}
    for group in table.groups(page.records):
        records = [row.record for row in group.rows if row.record.measured]
        if records:
            figures = {"throughput": charts.throughput(records), "latency": charts.latency(records)}
            timed[f"{group.case} {group.shape}"] = figures
    return {"group": timed, "series": _trends(page)}


def _trends(page: Page) -> dict[str, dict[str, charts.Figure]]:
    """Return cell with the number of its changes -> name -> figure."""
    trends: dict[str, dict[str, charts.Figure]] = {}
    if page.changes is None:
        return trends
    shown = _changed_first(page)
    for series, name in zip(shown, titles(shown), strict=True):
        changes = changes_in(page.changes, series)
        mark = f" ({counted(len(changes), 'change')})" if len(changes) else ""
        trends[name + mark] = {"trend": charts.trend(series, changes)}
    return trends


def _changed_first(page: Page) -> list[pd.DataFrame]:
    """Return the trends of at least two runs, those with a change point first."""
    changed = (
        set()
        if page.changes is None
        else set(zip(page.changes["cell"], page.changes["machine"], strict=True))
    )
    shown = [series for series in page.trends if len(series) > 1]
    return sorted(
        shown, key=lambda series: (series["cell"].iloc[0], series["machine"].iloc[0]) not in changed
    )


def _dicts(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return the rows. Unknown values are None."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _table_row(record: Record) -> list[tuple[str, Any]]:
    """Return (text, value to sort and copy by) for each of ``COLUMNS``."""
    values = [getattr(record, field) for _, field, _ in COLUMNS]
    return [
        (
            text.printable(str(show(value))),
            str(value) if isinstance(value, Status) else "" if value is None else value,
        )
        for value, (*_, show) in zip(values, COLUMNS, strict=True)
    ]
