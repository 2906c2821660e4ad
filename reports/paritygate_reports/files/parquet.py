"""A whole run with its samples as one Parquet file: a row for each record in typed columns, the run
in the file's metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from paritygate.core.record import SCHEMA, Record, Run
from paritygate_reports.files.jsontext import FileError, dumps, loads, run_of
from paritygate_reports.store.fields import RECORD_JSON, RECORD_SCALARS, clean

KEY = b"paritygate"
PLAIN = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
COLUMNS = pa.schema(
    [
        *((name, PLAIN[kind]) for name, kind in RECORD_SCALARS.items()),
        *((name, pa.string()) for name in RECORD_JSON),
        ("blocks", pa.list_(pa.list_(pa.float64()))),
        ("samples", pa.list_(pa.float64())),
    ]
)


def write_run(path: Path, run: Run, records: Sequence[Record]) -> None:
    """Write the file. NaN and unknown values (null) stay different. Raises ``OSError``."""
    about = dumps({"paritygate": SCHEMA, "run": asdict(run)})
    rows = pa.Table.from_pylist(
        [_row(record) for record in records], COLUMNS.with_metadata({KEY: about.encode()})
    )
    pq.write_table(rows, path, compression="zstd", write_page_checksum=True)


def read_run(path: Path) -> tuple[Run, list[Record]]:
    """Return the run and the records of such a file.

    Raises ``FileError`` for a file that is cut short or damaged, of a newer schema, or a table
    without its run.
    """
    try:
        # not read_table: in a path like a=1/run.parquet it makes a column of the folder's name
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
        about = (table.schema.metadata or {}).get(KEY)
    except (pa.ArrowException, OSError) as error:
        raise FileError(f"{path} cannot be read ({error}); write it again") from error
    if about is None:
        raise FileError(
            f"{path} is a table and not a run; write it by paritygate export --format parquet"
        )
    try:
        content = loads(about.decode()) | {"records": [_plain(row) for row in table.to_pylist()]}
    except (ValueError, TypeError) as error:
        raise FileError(
            f"{path} holds a record that cannot be read ({error!r}); write it again"
        ) from error
    return run_of(path, content)


def _row(record: Record) -> dict[str, Any]:
    row = record.as_dict()
    texts = {name: clean(value) for name, value in row.items() if isinstance(value, str)}
    return row | texts | {name: dumps(row[name]) for name in RECORD_JSON}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: loads(row[name]) for name in RECORD_JSON if name in row}
