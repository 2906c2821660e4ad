"""Records as one tidy DataFrame, one row for each cell. It is the same from a store, a JSON file or
memory.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from paritygate.core.metrics import METRIC
from paritygate.core.record import Record, Run
from paritygate_reports.files.jsontext import dumps, read_run
from paritygate_reports.store.fields import RECORD_JSON, RECORD_SCALARS, RUN_SCALARS, clean

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """One column: its name, pandas dtype, unit ("" where it has none) and meaning."""

    name: str
    dtype: str
    unit: str
    meaning: str


# Nullable, and named in full: "string" and the default dtype of text differ between pandas 2 and 3.
_DTYPE = {str: "string[python]", int: "Int64", float: "Float64", bool: "boolean"}
TIME: Final = "datetime64[us, UTC]"

_RUN = {  # column -> field of Run, unit, meaning
    "run": ("id", "", "id of the run, a UUID"),
    "started": ("started", "", "when the run started, UTC"),
    "budget": ("budget", "", "quick, normal or long; foreign: a file of pytest-benchmark"),
    "laboratory": ("laboratory", "", "whether laboratory conditions were requested"),
    "seed": ("seed", "1", "of weights, inputs and order"),
    "commit": ("commit", "", "git commit of the code under test"),
    "branch": ("branch", "", "git branch"),
    "dirty": ("dirty", "", "whether the working tree differed from the commit"),
}
_RECORD = {  # field of Record that is no metric -> unit, meaning; metrics have their own
    "cell": ("", "id: case-shape-device-backend-dtype"),
    "case": ("", "the model with its inputs"),
    "shape": ("", "name of the sizes"),
    "device": ("", "cpu, cuda ..."),
    "backend": ("", "eager, compile, onnxruntime ..."),
    "dtype": ("", "precision"),
    "status": ("", "how the cell ended; only ok has a speed"),
    "reason": ("", "why it is not ok"),
    "unit": ("", "what throughput counts"),
    "units": ("{unit}", "units of work in one call"),
    "interval_low": ("s", "95 % interval of the median block mean, per call"),
    "interval_high": ("s", "its upper end"),
    "speedup_low": ("x", "95 % interval of the speedup over launches; empty for one launch"),
    "speedup_high": ("x", "its upper end"),
    "launches": ("1", "fresh processes that measured"),
    "calls_per_sample": ("1", "calls timed as one sample"),
    "samples_seen": ("1", "samples measured; at most 2,000 are kept"),
    "stop": ("", "why measuring ended: precision or budget"),
    "error_allowed": ("1", "largest error that passes"),
    "eager_error": ("1", "the error of eager itself"),
    "max_abs_error": ("1", "largest difference of one element"),
    "reference": ("", "what the answer was compared with: float64 or eager"),
    "top1_agreement": ("1", "share of labelled samples answered as eager does"),
    "accuracy_samples": ("1", "labelled samples behind the accuracy"),
    "first_call_seconds": ("s", "the first call alone"),
    "verdict": ("", "how it compares with another revision: regressed, same ..."),
    "verdict_reason": ("", "why"),
    "effect": ("1", "share by which head is slower than base; negative: faster"),
    "effect_low": ("1", "95 % interval of the effect over launch pairs"),
    "effect_high": ("1", "its upper end"),
    "effect_sd": ("1", "standard deviation of single launch pairs, of ln(head/base)"),
    "detectable": ("1", "the smallest slowdown that would have been found with 95 %"),
    "findings": ("", "JSON list: what changed from base to head for certain"),
    "warnings": ("", "JSON list of texts"),
    "facts": ("", "JSON: graphs, providers, kernels, node counts ..."),
    "parity": ("", "JSON: every number of the comparison"),
}

MACHINE = (
    "gpu",
    "gpu_driver",
    "cpu",
    "cores",
    "affinity",
    "quota",
    "threads",
    "governor",
    "turbo",
    "virtual",
    "huge_pages",
    "python",
    "version_torch",
    "version_onnxruntime_gpu",
    "version_onnxruntime",
    "version_transformers",
)


def _columns() -> tuple[Column, ...]:
    columns = [
        Column(name, TIME if name == "started" else _DTYPE[RUN_SCALARS[field]], unit, meaning)
        for name, (field, unit, meaning) in _RUN.items()
    ]
    for name in (*RECORD_SCALARS, *RECORD_JSON):
        metric = METRIC.get(name)
        unit, meaning = (metric.unit, metric.meaning) if metric else _RECORD.get(name, ("", ""))
        columns.append(Column(name, _DTYPE[RECORD_SCALARS.get(name, str)], unit, meaning))
    columns.append(
        Column(
            "machine",
            _DTYPE[str],
            "",
            "JSON: what must be equal for times of two runs to be comparable",
        )
    )
    columns.append(
        Column(
            "calibration",
            _DTYPE[str],
            "",
            "JSON: seconds that the machine's own small kernels took",
        )
    )
    return (
        *columns,
        Column("environment", _DTYPE[str], "", "JSON: machine, versions, threads of the run"),
    )


COLUMNS = _columns()
"""Every column of the frame, in order; ``{unit}`` in a unit stands for the row's own ``unit``."""
DETAILS = (*RECORD_JSON, "environment")
"""The columns that hold long JSON texts."""


def frame(pairs: Iterable[tuple[Run, Record]]) -> pd.DataFrame:
    """Return one row for each cell, with the columns of ``COLUMNS``. Unknown values and NaN are
    ``<NA>``.
    """
    import pandas as pd

    rows = [_row(run, record) for run, record in pairs]
    return pd.DataFrame(
        {column.name: _series(column, [row[column.name] for row in rows]) for column in COLUMNS}
    )


def from_records(run: Run, records: Iterable[Record]) -> pd.DataFrame:
    """Return the frame of a run in memory."""
    return frame((run, record) for record in records)


def from_json(path: Path | str) -> pd.DataFrame:
    """Return the frame of a file written by ``--bench-report FILE.json``. Raises ``FileError`` for
    any other file.
    """
    return from_records(*read_run(path))


def load(
    store: str | Path,
    *,
    run: str | None = None,
    case: str = "*",
    target: str = "*",
    branch: str | None = None,
    since: str | datetime | None = None,
    until: str | datetime | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the frame of a store's records, the oldest run first.

    - ``run``: the id of one run.
    - ``case``, ``target`` (device-backend-dtype): may hold ``*`` and ``?``.
    - ``since``, ``until``: bounds on the start of the run, ``until`` excluded. A time without a
      zone is UTC.
    - ``columns``: names of ``COLUMNS``, in the order wanted. The default is all but the long texts
      of ``DETAILS``.

    Raises ``ValueError`` for an unknown column or a wrong time, ``StoreError`` for errors of the
    database.
    """
    from paritygate_reports.store.store import Store  # sqlalchemy: 0.2 s

    known = {column.name: column for column in COLUMNS}
    if unknown := [name for name in columns or () if name not in known]:
        raise ValueError(f"there is no column {unknown[0]!r}; the columns are {', '.join(known)}")
    wanted = [known[name] for name in (columns or [name for name in known if name not in DETAILS])]
    of_records = [
        column.name for column in wanted if column.name in (*RECORD_SCALARS, *RECORD_JSON)
    ]
    selected = Store(store, make=False).selected(
        of_records,
        run=run,
        case=case,
        target=target,
        branch=branch,
        since=_utc(since),
        until=_utc(until),
    )
    with selected as (runs, parts), _uncollected():
        return _joined(wanted, of_records, runs, parts)


def _joined(
    wanted: Sequence[Column],
    of_records: Sequence[str],
    runs: Mapping[int, Run],
    parts: Iterable[Sequence[Any]],
) -> pd.DataFrame:
    """Return the frame of rows that begin with the number of their run, sorted by run. Columns of a
    run are made once and repeated.
    """
    import numpy as np
    import pandas as pd

    described = [_of_run(run) for run in runs.values()]
    once = {
        column.name: _series(column, [row[column.name] for row in described]).array
        for column in wanted
        if column.name not in of_records
    }
    place = {number: place for place, number in enumerate(runs)}
    same: dict[Any, Any] = {}  # a million rows name 500 cells: equal texts become one object
    places, frames = (
        [np.empty(0, int)],
        [pd.DataFrame({column.name: _series(column, []) for column in wanted})],
    )
    for rows in parts:
        numbers, *values = zip(*rows, strict=True)
        read = dict(zip(of_records, values, strict=True))
        where = np.array([place[number] for number in numbers])
        columns = {}
        for column in wanted:
            if column.name in once:
                columns[column.name] = pd.Series(once[column.name].take(where))
            elif column.dtype == _DTYPE[str]:
                columns[column.name] = _series(
                    column, [same.setdefault(value, value) for value in read[column.name]]
                )
            else:
                columns[column.name] = _series(column, read[column.name])
        places.append(where)
        frames.append(pd.DataFrame(columns))
    order = np.argsort(np.concatenate(places), kind="stable")
    return pd.concat(frames, ignore_index=True).take(order).reset_index(drop=True)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Switch off the search for reference cycles: rows form none, and the search doubles the time
    for a million rows.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _series(column: Column, values: Sequence[Any]) -> pd.Series[Any]:
    """Return the values with the column's dtype."""
    import pandas as pd  # 0.25 s: only where a frame is wanted, never while tests are collected

    if column.dtype == TIME:
        return pd.Series(pd.to_datetime(values, utc=True, format="ISO8601")).astype(TIME)
    return pd.Series(values, dtype=column.dtype)


def _utc(time: str | datetime | None) -> str | None:
    """Return a time in the form of a run's start: ISO 8601 in UTC, to the second."""
    if time is None:
        return None
    given = datetime.fromisoformat(time) if isinstance(time, str) else time
    return (
        (given if given.tzinfo else given.replace(tzinfo=UTC))
        .astimezone(UTC)
        .isoformat(timespec="seconds")
    )


def _of_run(run: Run) -> dict[str, Any]:
    """Return the columns that all rows of a run share."""
    row = {name: getattr(run, field) for name, (field, _, _) in _RUN.items()}
    facts = {name: run.environment[name] for name in MACHINE if name in run.environment}
    return row | {
        "machine": dumps(facts | {"laboratory": run.laboratory}),
        "calibration": dumps(run.environment.get("calibration", {})),
        "environment": dumps(run.environment),
    }


def _row(run: Run, record: Record) -> dict[str, Any]:
    row = _of_run(run) | {name: getattr(record, name) for name in RECORD_SCALARS}
    row |= {name: dumps(getattr(record, name)) for name in RECORD_JSON}
    return {name: clean(value) if isinstance(value, str) else value for name, value in row.items()}
