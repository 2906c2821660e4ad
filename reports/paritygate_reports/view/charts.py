"""The figures of a report as Plotly's data and layout. Pure, from records and frames; does not
import Plotly.

Colours are those of Okabe and Ito, which colour-blind people can distinguish, and every colour has
its own symbol. Texts are foreign, and Plotly interprets some HTML in them, so all are escaped.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paritygate.core.reasons import first_line
from paritygate.core.record import Record
from paritygate_reports.analysis.change_points import changes_in, levels
from paritygate_reports.view import text
from paritygate_reports.view.table import BAD

if TYPE_CHECKING:
    import pandas as pd

Figure = dict[str, Any]

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8A8A8A")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross")
SLOWER, EQUAL, FASTER = "#D55E00", "#F5F5F5", "#0072B2"
STRONGEST = 2.0  # limit of the heat map, in powers of two: 4x and more have the strongest colour
SAMPLES = 300  # samples of a cell in a plot, taken evenly; more dots hide each other
ROW, MARGIN = 22, 110  # pixels of a row, and around the rows
PATTERNS = ("", "/", ".", "x", "-", "\\", "|")  # patterns of bars, beside their colours
LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom"}


def plain(value: str) -> str:
    """Return the text in a form that Plotly shows letter by letter."""
    return html.escape(text.printable(value).replace("\n", " "), quote=False)


def speed_map(records: Sequence[Record]) -> Figure | None:
    """Return speed relative to eager: a row for each case and shape, a column for each target. A
    failed cell has a mark instead.
    """
    shown = [record for record in records if record.speedup is not None or record.status in BAD]
    if not shown:
        return None
    rows, targets = _distinct(map(_place, shown)), _distinct(map(_target, shown))
    at = {(_place(record), _target(record)): record for record in shown}
    cells = [[at.get((row, target)) for target in targets] for row in rows]
    return {
        "data": [
            {
                "type": "heatmap",
                "x": [plain(target) for target in targets],
                "y": [plain(row) for row in rows],
                "z": [[_power(record) for record in row] for row in cells],
                "zmid": 0,
                "zmin": -STRONGEST,
                "zmax": STRONGEST,
                "xgap": 2,
                "ygap": 2,
                "hoverongaps": False,
                "colorscale": [[0, SLOWER], [0.5, EQUAL], [1, FASTER]],
                "text": [[_mark(record) for record in row] for row in cells],
                "texttemplate": "%{text}",
                **_hover([[_about(record) for record in row] for row in cells]),
                "colorbar": {
                    "title": {"text": "vs eager"},
                    "tickvals": [-2, -1, 0, 1, 2],
                    "thickness": 12,
                    "ticktext": ["¼x", "½x", "1x", "2x", "4x"],
                },
            }
        ],
        "layout": {
            "height": MARGIN + ROW * len(rows),
            "xaxis": {"side": "top"},
            "yaxis": {"autorange": "reversed"},
        },
    }


def throughput(records: Sequence[Record]) -> Figure:
    """Return units per second of the cells of one case and shape, with the interval of the
    median.
    """
    timed = [record for record in records if _positive(record, "throughput")]
    unit = plain(next((record.unit for record in timed if record.unit), "call"))
    bars = []
    for number, record in enumerate(timed):
        value = float(record.throughput or 0)
        low = (
            record.units / float(record.interval_high or 0)
            if _positive(record, "interval_high")
            else value
        )
        high = (
            record.units / float(record.interval_low or 0)
            if _positive(record, "interval_low")
            else value
        )
        bars.append(
            {
                "type": "bar",
                "orientation": "h",
                "x": [value],
                "y": [plain(_target(record))],
                "marker": {
                    "color": _colour(number),
                    "pattern": {"shape": PATTERNS[number % len(PATTERNS)], "size": 5},
                },
                "error_x": {
                    "type": "data",
                    "array": [max(high - value, 0)],
                    "arrayminus": [max(value - low, 0)],
                },
                **_hover(
                    [
                        f"{plain(record.cell)}<br>{text.rate(value)} {unit}/s ({text.rate(low)} to {text.rate(high)})"
                    ]
                ),
            }
        )
    layout = _rows(
        [plain(_target(record)) for record in timed],
        {"title": f"{unit}/s", "rangemode": "tozero"},
        34,
    )
    return {"data": bars, "layout": layout | {"showlegend": False}}


def latency(records: Sequence[Record]) -> Figure:
    """Return the samples of the cells of one case and shape: a box with its points for each
    cell.
    """
    timed = [record for record in records if _positive(record, "latency_p50")]
    unit = text.second_unit(record.latency_p50 for record in timed)
    scale = dict(text.SECOND_UNITS)[unit]
    boxes = []
    for number, record in enumerate(timed):
        step = max(1, math.ceil(len(record.samples) / SAMPLES))
        values = [
            _short(sample / scale) for sample in record.samples[::step] if math.isfinite(sample)
        ]
        values = values or [_short(float(record.latency_p50 or 0) / scale)]
        boxes.append(
            {
                "type": "box",
                "orientation": "h",
                "x": values,
                "y": [plain(_target(record))] * len(values),
                "boxpoints": "all",
                "jitter": 0.6,
                "pointpos": 0,
                "line": {"width": 1.5},
                "name": plain(_target(record)),
                "marker": {
                    "color": _colour(number),
                    "symbol": SYMBOLS[number % len(SYMBOLS)],
                    "size": 3,
                    "opacity": 0.5,
                },
            }
        )
    layout = _rows(
        [plain(_target(record)) for record in timed],
        {"title": f"{unit} a call", "rangemode": "tozero"},
        60,
    )
    return {"data": boxes, "layout": layout | {"showlegend": False}}


def parity(records: Sequence[Record]) -> Figure | None:
    """Return the error of every checked cell as a share of the allowed error, with the limit."""
    figure = _dots(
        records, {"": "error_share"}, {"title": "share of the allowed error", "tickformat": ".0%"}
    )
    if figure is not None:
        figure["layout"]["shapes"] = [_upright(1, SLOWER, "dash")]
    return figure


def memory(records: Sequence[Record]) -> Figure | None:
    """Return the peak memory of every cell in MiB."""
    return _dots(
        records, {"": "peak_bytes"}, {"title": "MiB above the worker's start"}, scale=2**20
    )


def prepare(records: Sequence[Record]) -> Figure | None:
    """Return seconds to the first answer: caches warm (filled symbols) and cold (open symbols)."""
    fields = {"warm": "prepare_seconds", "cold": "prepare_cold_seconds"}
    return _dots(records, fields, {"title": "seconds to the first answer"})


def trend(series: pd.DataFrame, changes: pd.DataFrame) -> Figure:
    """Return the median latency of one cell over its runs, with the levels between its change
    points.

    ``series``: one of ``histories``. ``changes``: from ``changepoints``; those of other cells are
    ignored.
    """
    unit = text.second_unit(series["latency_p50"])
    scale = dict(text.SECOND_UNITS)[unit]
    times = series["latency_p50"].to_numpy(dtype=float) / scale
    days = [
        time.isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
        for time in series["started"]
    ]
    commits = zip(series["branch"].fillna(""), series["commit"].fillna("no commit"), strict=True)
    points = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": days,
        "y": [_short(time) for time in times],
        "marker": {"color": COLOURS[0], "size": 6},
        "line": {"color": COLOURS[0], "width": 1, "dash": "dot"},
        **_hover(
            [
                f"{plain(f'{branch}@{commit[:10]}')}<br>{day}<br>{text.digits(time)} {unit}"
                for (branch, commit), day, time in zip(commits, days, times, strict=True)
            ]
        ),
    }
    x: list[str | None] = []
    y: list[float | None] = []
    for start, end, middle in levels(series, changes):
        x += [days[start], days[end - 1], None]
        y += [_short(middle / scale)] * 2 + [None]
    steps = {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "hoverinfo": "skip",
        "line": {"color": COLOURS[5], "width": 3},
    }
    day = dict(zip(series["run"], days, strict=True))
    notes = [
        {
            "x": day[change["run"]],
            "y": 1,
            "yref": "paper",
            "showarrow": False,
            "yanchor": "bottom",
            "text": f"{'▲' if change['effect'] > 0 else '▼'} {change['effect']:+.1%}",
        }
        for change in changes_in(changes, series).to_dict("records")
    ]
    return {
        "data": [points, *([steps] if notes else [])],
        "layout": {
            "height": 360,
            "xaxis": {"type": "date"},
            "yaxis": {"title": f"p50, {unit}"},
            "showlegend": False,
            "annotations": notes,
            "shapes": [_upright(note["x"], COLOURS[5], "dot") for note in notes],
        },
    }


def effects(compared: pd.DataFrame, most: int = 40) -> Figure | None:
    """Return how much slower or faster cells are, with their intervals where known. Shows the
    ``most`` largest effects.

    ``compared`` has the columns of ``paritygate_reports.compare``.
    """
    known = compared[compared["effect"].notna()]
    if known.empty:
        return None
    largest = known.loc[known["effect"].abs().sort_values(ascending=False).index[:most]]
    largest = largest.sort_values("effect", ascending=False)
    traces = []
    for number, (verdict, rows) in enumerate(largest.groupby("verdict", sort=True)):
        effect, low, high = (
            rows[name].fillna(rows["effect"]).astype(float) for name in ("effect", "low", "high")
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(str(verdict).replace("_", " ")),
                "x": [_short(value) for value in effect],
                "y": [plain(str(cell)) for cell in rows["cell"]],
                "error_x": {
                    "type": "data",
                    "array": [_short(value) for value in high - effect],
                    "arrayminus": [_short(value) for value in effect - low],
                },
                "marker": {
                    "color": _colour(number),
                    "symbol": SYMBOLS[number % len(SYMBOLS)],
                    "size": 9,
                },
                **_hover(
                    [
                        f"{plain(str(cell))}<br>{value:+.1%}"
                        for cell, value in zip(rows["cell"], effect, strict=True)
                    ]
                ),
            }
        )
    axis = {"title": "slower by (negative: faster)", "tickformat": "+.0%"}
    layout = _rows([plain(str(cell)) for cell in largest["cell"]], axis)
    return {
        "data": traces,
        "layout": layout | {"shapes": [_upright(0, "#8A8A8A")], "legend": LEGEND},
    }


def _dots(
    records: Sequence[Record], fields: Mapping[str, str], axis: Figure, scale: float = 1.0
) -> Figure | None:
    """Return a dot for each cell on a log axis: a row for each case and shape, a colour and symbol
    for each target.
    """
    shown = [
        record for record in records if any(_positive(record, field) for field in fields.values())
    ]
    if not shown:
        return None
    traces = []
    for number, target in enumerate(_distinct(map(_target, shown))):
        for name, field in fields.items():
            mine = [
                record for record in shown if _target(record) == target and _positive(record, field)
            ]
            values = [_short(getattr(record, field) / scale) for record in mine]
            symbol = SYMBOLS[number % len(SYMBOLS)] + ("-open" if name == "cold" else "")
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": plain(f"{target} {name}".strip()),
                    "x": values,
                    "y": [plain(_place(record)) for record in mine],
                    "marker": {"color": _colour(number), "size": 9, "symbol": symbol},
                    **_hover(
                        [
                            f"{plain(record.cell)}<br>{text.digits(value)} {name}"
                            for record, value in zip(mine, values, strict=True)
                        ]
                    ),
                }
            )
    layout = _rows([plain(row) for row in _distinct(map(_place, shown))], axis | {"type": "log"})
    return {
        "data": [trace for trace in traces if trace["x"]],
        "layout": layout | {"legend": LEGEND},
    }


def _rows(labels: Sequence[str], axis: Figure, size: int = ROW) -> Figure:
    """Return the layout of a figure of rows, the first one on top."""
    rows = list(reversed(_distinct(labels)))
    return {
        "height": MARGIN + size * len(rows),
        "xaxis": axis,
        "yaxis": {"categoryorder": "array", "categoryarray": rows},
    }


def _hover(texts: Sequence[str] | Sequence[Sequence[str]]) -> Figure:
    """Return the text shown at each point. It is passed as data, so that Plotly reads no
    placeholder in a name.
    """
    return {"customdata": list(texts), "hovertemplate": "%{customdata}<extra></extra>"}


def _upright(x: Any, colour: str, dash: str = "solid") -> Figure:
    """Return a vertical line over the whole height."""
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": {"color": colour, "width": 1.5, "dash": dash},
    }


def _positive(record: Record, field: str) -> bool:
    """Return whether the field can be shown on a log axis."""
    value = getattr(record, field)
    return value is not None and math.isfinite(value) and value > 0


def _place(record: Record) -> str:
    return f"{record.case} {record.shape}"


def _target(record: Record) -> str:
    return f"{record.device}-{record.backend}-{record.dtype}"


def _power(record: Record | None) -> float | None:
    """Return the speedup in powers of two."""
    if record is None or not _positive(record, "speedup"):
        return None
    return _short(math.log2(record.speedup or 1))


def _mark(record: Record | None) -> str:
    if record is None:
        return ""
    return text.ratio(record.speedup, exact=True) if record.speedup else "✗"


def _about(record: Record | None) -> str:
    if record is None:
        return ""
    if record.speedup is None:
        return plain(
            f"{record.cell}: {str(record.status).replace('_', ' ')}: {first_line(record.reason)[:200]}"
        )
    speed = text.ratio(
        record.speedup, record.speedup_low, record.speedup_high, exact=record.backend == "eager"
    )
    return f"{plain(record.cell)}<br>{speed} vs eager, {text.rate(record.throughput)} {plain(record.unit)}/s"


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _short(value: float) -> float:
    """Return the value with five digits: enough for a screen, and the file stays small."""
    return float(f"{value:.5g}")
