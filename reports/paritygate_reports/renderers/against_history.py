"""The comparison with earlier runs as bytes for a file or a screen. FORMATS: name ->
``render(advice)``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from paritygate.core.record import Verdict
from paritygate_reports.analysis.against_history import BAD, Advice
from paritygate_reports.renderers.markdown import escape, folded
from paritygate_reports.view import text
from paritygate_reports.view.gate_lines import WORST_FIRST

JUDGED = (Verdict.SAME, Verdict.IMPROVED, Verdict.REGRESSED)
CONFIRM = "This is advice; `pytest bench --bench-against` decides."


def line(row: dict[Any, Any]) -> str:
    """Return a line about one cell: verdict, effect with its interval where known, and the
    reason.
    """
    return text.printable(
        f"{row['verdict'].replace('_', ' '):<15}{_effect(row):<28} {row['cell']}  {row['reason']}"
    )


def terminal(advice: Advice) -> bytes:
    """Return one line for each cell."""
    return (
        "\n".join([text.printable(f"{advice.title}; {CONFIRM}"), *map(line, advice.rows)]).encode()
        + b"\n"
    )


def markdown(advice: Advice) -> bytes:
    """Return text for a pull request: bad cells as a table, the others folded."""
    return ("\n".join(_markdown(advice)) + "\n").encode("utf-8", "backslashreplace")


def csv(advice: Advice) -> bytes:
    """Return one row for each cell, shares as numbers."""
    return advice.frame.to_csv(index=False).encode("utf-8", "backslashreplace")


def parquet(advice: Advice) -> bytes:
    """Return the columns of ``csv`` with their dtypes."""
    file = io.BytesIO()
    advice.frame.to_parquet(file, engine="pyarrow", index=False)
    return file.getvalue()


def as_json(advice: Advice) -> bytes:
    """Return an object with the run, the baseline, and its cells, the worst first."""
    about = {
        "run": advice.head.id,
        "against": advice.baseline,
        "runs": len(advice.runs),
        "cells": advice.rows,
    }
    return json.dumps(about, indent=1).encode() + b"\n"


FORMATS: dict[str, Callable[[Advice], bytes]] = {
    "terminal": terminal,
    "md": markdown,
    "csv": csv,
    "json": as_json,
    "parquet": parquet,
}


def _effect(row: dict[Any, Any]) -> str:
    if row["effect"] is None:
        return ""
    interval = "" if row["low"] is None else f" ({row['low']:+.1%} to {row['high']:+.1%})"
    return f"{row['effect']:+.1%}{interval}"


def _markdown(advice: Advice) -> Iterator[str]:
    bad = [row for row in advice.rows if row["verdict"] in BAD]
    judged = any(row["verdict"] in JUDGED for row in advice.rows)
    yield f"## paritygate: {'slower, broken or missing' if bad else 'nothing slower' if judged else 'not comparable'}"
    yield from ("", f"**{escape(advice.title)}** {escape(CONFIRM)}")
    if bad:
        yield from ("", *_table(bad))
    for verdict in WORST_FIRST:
        rows = [row for row in advice.rows if row["verdict"] == verdict and verdict not in BAD]
        if rows:
            yield from folded(f"{str(verdict).replace('_', ' ')} ({len(rows)})", list(_table(rows)))


def _table(rows: list[dict[Any, Any]]) -> Iterator[str]:
    yield from ("| verdict | effect | cell | why |", "| :-- | --: | :-- | :-- |")
    for row in rows:
        texts = (row["verdict"].replace("_", " "), _effect(row), row["cell"], row["reason"])
        yield "| " + " | ".join(escape(what) for what in texts) + " |"
