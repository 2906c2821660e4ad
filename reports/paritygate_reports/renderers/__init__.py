"""RENDERERS: name -> ``render(run, records, places)``, pure, returns text. A new one is a file and
a row.

Tests read the table. Others import a renderer itself: ``files.writers`` for the files of
``--bench-report``, ``session`` and the command ``show`` for the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from paritygate.core.record import Record, Run
from paritygate_reports.renderers import markdown, terminal

RENDERERS: dict[str, Callable[[Run, Sequence[Record], Sequence[str]], str]] = {
    "terminal": terminal.render,
    "markdown": markdown.render,
}
"""``places`` are lines that say where the records and the files of the run are."""
