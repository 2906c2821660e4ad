"""The files of ``--bench-report FILE``. The suffix decides the format; WRITERS is the table."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from paritygate.core.record import Record, Run


def write_csv(path: Path, run: Run, records: Sequence[Record], places: Sequence[str]) -> None:
    """Write one row for each cell, with the columns of ``paritygate_reports.frame.COLUMNS``, in
    UTF-8.
    """
    from paritygate_reports.frame import from_records  # pandas is slow to import

    from_records(run, records).to_csv(path, index=False)


def write_parquet(path: Path, run: Run, records: Sequence[Record], places: Sequence[str]) -> None:
    """Write the columns of the CSV file, with their dtypes."""
    from paritygate_reports.frame import from_records

    from_records(run, records).to_parquet(path, engine="pyarrow", index=False)


def write_json(path: Path, run: Run, records: Sequence[Record], places: Sequence[str]) -> None:
    """Write the whole run with its samples. ``frame.from_json`` and ``runfiles.read`` read it."""
    from paritygate_reports.files.jsontext import run_text

    path.write_text(run_text(run, records), encoding="utf-8")


def write_markdown(path: Path, run: Run, records: Sequence[Record], places: Sequence[str]) -> None:
    """Write the comment for a pull request."""
    from paritygate_reports.renderers.markdown import render

    path.write_text(render(run, records, places), encoding="utf-8", errors="backslashreplace")


def write_html(path: Path, run: Run, records: Sequence[Record], places: Sequence[str]) -> None:
    """Write the run as a page of its own, without history; ``paritygate html`` includes the
    history.
    """
    from paritygate_reports.renderers.html import render
    from paritygate_reports.view.page import Page

    path.write_text(render(Page(run, records, places)), encoding="utf-8", errors="backslashreplace")


Writer = Callable[[Path, Run, Sequence[Record], Sequence[str]], None]
WRITERS: dict[str, Writer] = {
    ".csv": write_csv,
    ".parquet": write_parquet,
    ".json": write_json,
    ".md": write_markdown,
    ".html": write_html,
}


def problem(path: Path) -> str | None:
    """Return why no report can be written there, or None."""
    if path.suffix.lower() not in WRITERS:
        return f"{str(path)!r} must end in one of {', '.join(WRITERS)}"
    if path.is_dir():
        return f"{str(path)!r} is a folder; give a file in it, e.g. {path / ('run' + path.suffix)}"
    return None


def write(path: Path, run: Run, records: Sequence[Record], places: Sequence[str] = ()) -> None:
    """Write a report. Its folder is made, and the file appears complete or not at all. Raises
    ``OSError``.
    """
    replace_whole(
        path, lambda unfinished: WRITERS[path.suffix.lower()](unfinished, run, records, places)
    )


def replace_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file that replaces ``path`` completely or not at all. Its folder is
    made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
