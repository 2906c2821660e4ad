"""Runs and values as JSON text that any JSON reader takes, and back without loss.

JSON has no NaN and no infinity; they are written as ``{"__float__": "nan"}``, ``"inf"`` or
``"-inf"``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from paritygate.core.errors import UserError
from paritygate.core.record import SCHEMA, Record, Run
from paritygate_reports.store.fields import misfits

TAG = "__float__"


class FileError(UserError, ValueError):
    """A report file that cannot be read: names it and says what to do."""


def dumps(value: Any) -> str:
    """The value as strict JSON; what JSON has no word for (a path, an exception) goes in as its
    ``str``.
    """
    return json.dumps(_tagged(value), allow_nan=False, default=str)


def loads(text: str) -> Any:
    """The value that ``dumps`` wrote (tuples come back as lists); raises ``ValueError`` for what is
    no JSON.
    """
    return json.loads(
        text, object_hook=lambda found: float(found[TAG]) if set(found) == {TAG} else found
    )


def run_text(run: Run, records: Sequence[Record]) -> str:
    """A whole run with all samples as JSON, one record a line."""
    rows = ",\n".join(dumps(record.as_dict()) for record in records)
    return f'{{"paritygate": {SCHEMA},\n"run": {dumps(asdict(run))},\n"records": [\n{rows}\n]}}\n'


def read_run(path: Path | str) -> tuple[Run, list[Record]]:
    """The run and the records of a file that ``--bench-report FILE.json`` or ``export`` wrote.

    Raises ``FileError`` for a file that is missing, no such report, cut short, or of a newer
    schema.
    """
    return run_of(path, read(path))


def read(path: Path | str) -> Any:
    """What a JSON file holds; raises ``FileError`` for one that is missing, no JSON, or cut
    short.
    """
    try:
        return loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _no_run(path, error) from error


def run_of(path: Path | str, found: Any) -> tuple[Run, list[Record]]:
    """The run and the records in what ``read`` gave of a file; raises ``FileError`` where there is
    none.
    """
    try:
        schema = int(found["paritygate"])
    except (ValueError, KeyError, TypeError) as error:
        raise _no_run(path, error) from error
    if schema > SCHEMA:
        raise FileError(
            f"{path} has schema {schema}, known are those up to {SCHEMA}: update paritygate"
        )
    try:
        run, records = Run(**found["run"]), [Record.from_dict(row) for row in found["records"]]
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"{path} holds a record that cannot be read ({error!r}); write it again"
        ) from error
    wrong = misfits(run) + [
        f"{record.cell} {wrong}" for record in records for wrong in misfits(record)
    ]
    if wrong:
        raise FileError(f"{path} cannot be read, it has {', '.join(wrong[:5])}; write it again")
    return run, records


def _no_run(path: Path | str, error: Exception) -> FileError:
    return FileError(
        f"{path} is not a run ({error!r}); give a file written by paritygate export, "
        "--bench-report FILE.json or --benchmark-json, or write it again"
    )


def _tagged(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {TAG: str(float(value))}
    if isinstance(value, dict):
        return {str(key): _tagged(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_tagged(inner) for inner in value]
    return value
