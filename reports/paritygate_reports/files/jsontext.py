"""Runs and values as JSON text that any JSON reader takes, and back without loss.

JSON has no NaN and no infinity. They are written as ``{"__float__": "nan"}``, ``"inf"`` or
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
    """A report file cannot be read. The message names it and says what to do."""


def dumps(value: Any) -> str:
    """Return the value as strict JSON. Values that JSON does not know (a path, an exception) become
    their ``str``.
    """
    return json.dumps(_tagged(value), allow_nan=False, default=str)


def loads(text: str) -> Any:
    """Return the value that ``dumps`` wrote; tuples come back as lists. Raises ``ValueError`` for
    invalid JSON.
    """
    return json.loads(
        text, object_hook=lambda value: float(value[TAG]) if set(value) == {TAG} else value
    )


def run_text(run: Run, records: Sequence[Record]) -> str:
    """Return a whole run with all samples as JSON, one record a line."""
    rows = ",\n".join(dumps(record.as_dict()) for record in records)
    return f'{{"paritygate": {SCHEMA},\n"run": {dumps(asdict(run))},\n"records": [\n{rows}\n]}}\n'


def read_run(path: Path | str) -> tuple[Run, list[Record]]:
    """Return the run and the records of a file that ``--bench-report FILE.json`` or ``export``
    wrote.

    Raises ``FileError`` for a file that is missing, no such report, cut short, or of a newer
    schema.
    """
    return run_of(path, read(path))


def read(path: Path | str) -> Any:
    """Return the content of a JSON file. Raises ``FileError`` if it is missing, no JSON, or cut
    short.
    """
    try:
        return loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _no_run(path, error) from error


def run_of(path: Path | str, content: Any) -> tuple[Run, list[Record]]:
    """Return the run and the records in the content that ``read`` returned. Raises ``FileError`` if
    there is no run.
    """
    try:
        schema = int(content["paritygate"])
    except (ValueError, KeyError, TypeError) as error:
        raise _no_run(path, error) from error
    if schema > SCHEMA:
        raise FileError(
            f"{path} has schema {schema}, but this paritygate knows only those up to {SCHEMA}: update paritygate"
        )
    try:
        run, records = Run(**content["run"]), [Record.from_dict(row) for row in content["records"]]
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
