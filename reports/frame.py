"""Records as one tidy DataFrame, one row a cell; the same one from a store, a JSON file or memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.metrics import METRIC
from bench.record import Record, Run
from reports.fields import RECORD_JSON, RECORD_SCALARS, RUN_SCALARS, clean
from reports.jsontext import dumps, read_run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """One column: its name, pandas dtype, unit ("" where it has none) and meaning."""

    name: str
    dtype: str
    unit: str
    meaning: str


# Nullable and named in full: "string" and the default of text differ between pandas 2 and 3.
_DTYPE = {str: "string[python]", int: "Int64", float: "Float64", bool: "boolean"}
TIME: Final = "datetime64[us, UTC]"

_RUN = {  # column -> field of Run, unit, meaning
    "run": ("id", "", "id of the run, a UUID"),
    "started": ("started", "", "when the run started, UTC"),
    "budget": ("budget", "", "quick, normal or long"),
    "laboratory": ("laboratory", "", "whether laboratory conditions were asked for"),
    "seed": ("seed", "1", "of weights, inputs and order"),
    "commit": ("commit", "", "git commit of the code under test"),
    "branch": ("branch", "", "git branch"),
    "dirty": ("dirty", "", "whether the working tree differed from the commit"),
}
_RECORD = {  # field of Record that is no metric -> unit, meaning; the metrics say it themselves
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


def _columns() -> tuple[Column, ...]:
    found = [
        Column(name, TIME if name == "started" else _DTYPE[RUN_SCALARS[field]], unit, meaning)
        for name, (field, unit, meaning) in _RUN.items()
    ]
    for name in (*RECORD_SCALARS, *RECORD_JSON):
        metric = METRIC.get(name)
        unit, meaning = (metric.unit, metric.meaning) if metric else _RECORD.get(name, ("", ""))
        found.append(Column(name, _DTYPE[RECORD_SCALARS.get(name, str)], unit, meaning))
    return (*found, Column("environment", _DTYPE[str], "", "JSON: machine, versions, threads of the run"))


COLUMNS = _columns()
"""Every column of the frame, in order; ``{unit}`` in a unit stands for the row's own ``unit``."""


def frame(pairs: Iterable[tuple[Run, Record]]) -> pd.DataFrame:
    """One row a cell with the columns of ``COLUMNS``; what is not known is ``<NA>``, and so is NaN."""
    import pandas as pd  # 0.25 s: only where a frame is wanted, never while tests are collected

    rows = [_row(run, record) for run, record in pairs]
    columns = {}
    for column in COLUMNS:
        values = [row[column.name] for row in rows]
        if column.dtype == TIME:
            columns[column.name] = pd.Series(pd.to_datetime(values, utc=True, format="ISO8601")).astype(TIME)
        else:
            columns[column.name] = pd.Series(values, dtype=column.dtype)
    return pd.DataFrame(columns)


def from_records(run: Run, records: Iterable[Record]) -> pd.DataFrame:
    """The frame of a run in memory."""
    return frame((run, record) for record in records)


def from_json(path: Path | str) -> pd.DataFrame:
    """The frame of a file written by ``--bench-report FILE.json``; raises ``FileError`` if it is none."""
    return from_records(*read_run(path))


def from_store(url: str | Path, run: str | None = None) -> pd.DataFrame:
    """The frame of one run of a store, or of all runs, the oldest first; raises ``StoreError``."""
    from reports.store import Store  # sqlalchemy: 0.2 s

    store = Store(url, make=False)
    runs = store.runs() if run is None else [store.run(run)]
    return frame((each, record) for each in runs for record in store.records(each.id))


def _row(run: Run, record: Record) -> dict[str, Any]:
    row = {name: getattr(run, field) for name, (field, _, _) in _RUN.items()}
    row |= {name: getattr(record, name) for name in RECORD_SCALARS}
    row |= {name: dumps(getattr(record, name)) for name in RECORD_JSON}
    row["environment"] = dumps(run.environment)
    return {name: clean(value) if isinstance(value, str) else value for name, value in row.items()}
