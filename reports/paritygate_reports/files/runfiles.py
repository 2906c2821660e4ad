"""Files that hold a whole run with its samples. FORMATS lists the formats for writing; reading
recognises the format by content.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from paritygate.core.record import Record, Run
from paritygate_reports.files import jsontext, pytest_benchmark, writers
from paritygate_reports.files.jsontext import FileError

SUFFIXES = (".json", ".parquet")


def write_json(path: Path, run: Run, records: Sequence[Record]) -> None:
    """Write one file for a run, one line for each record."""
    writers.write_json(path, run, records, ())


def write_parquet(path: Path, run: Run, records: Sequence[Record]) -> None:
    """Write one file for a run, one row for each record."""
    from paritygate_reports.files import parquet  # pyarrow is slow to import

    parquet.write_run(path, run, records)


FORMATS: dict[str, Callable[..., None]] = {"json": write_json, "parquet": write_parquet}


def read(path: Path) -> tuple[Run, list[Record]]:
    """Return the run in one of our files, JSON or Parquet, or in one of pytest-benchmark. Raises
    ``FileError`` if there is none.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error
    if start == b"PAR1":
        from paritygate_reports.files import parquet

        return parquet.read_run(path)
    content = jsontext.read(path)
    run_of = pytest_benchmark.run_of if pytest_benchmark.wrote(content) else jsontext.run_of
    return run_of(path, content)
