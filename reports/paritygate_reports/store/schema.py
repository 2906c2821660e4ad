"""The tables of a store, and the migrations of older versions.

``paritygate_schema`` (one row: the version), ``runs``, ``records`` (one row for each cell) and
``samples`` (a table of its own, so that summaries load without them). The columns are the fields of
Run and Record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from paritygate_reports.store.fields import BULK, RECORD_JSON, RECORD_SCALARS, RUN_JSON, RUN_SCALARS

# JSON is stored as text: PostgreSQL's JSON type refuses some characters of Python's strings, and
# nothing queries it.
_TYPE = {str: sa.Text, int: sa.BigInteger, float: sa.Double, bool: sa.Boolean}
TABLES = sa.MetaData()


def _columns(scalars: dict[str, type], jsons: tuple[str, ...]) -> list[sa.Column[Any]]:
    plain: list[sa.Column[Any]] = [sa.Column(name, _TYPE[kind]) for name, kind in scalars.items()]
    return plain + [sa.Column(name, sa.Text) for name in jsons]


def _key() -> sa.Column[int]:
    # SQLite numbers rows automatically only for INTEGER
    return sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True)


VERSION = sa.Table("paritygate_schema", TABLES, sa.Column("version", sa.Integer, nullable=False))
RUNS = sa.Table("runs", TABLES, _key(), *_columns(RUN_SCALARS, RUN_JSON), sa.UniqueConstraint("id"))
RECORDS = sa.Table(
    "records",
    TABLES,
    _key(),
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.id"), nullable=False),
    *_columns(RECORD_SCALARS, RECORD_JSON),
    sa.Column("nan_fields", sa.Text),  # the scalars that were NaN, which SQLite turns into NULL
    sa.UniqueConstraint("run_id", "cell"),
)
SAMPLES = sa.Table(
    "samples",
    TABLES,
    sa.Column(
        "record_number", sa.ForeignKey("records.number"), primary_key=True, autoincrement=False
    ),
    *_columns({}, BULK),
)


def _gate_columns(connection: sa.Connection) -> None:
    """Migrate 1 -> 2: add the columns of the gate."""
    names = (
        "verdict",
        "verdict_reason",
        "effect",
        "effect_low",
        "effect_high",
        "effect_sd",
        "detectable",
        "findings",
    )
    for column in (RECORDS.c[name] for name in names):
        kind = column.type.compile(connection.dialect)
        connection.execute(sa.text(f"ALTER TABLE records ADD COLUMN {column.name} {kind}"))
    connection.execute(RECORDS.update().values(verdict="", verdict_reason="", findings="[]"))


MIGRATIONS: dict[int, Callable[[sa.Connection], None]] = {1: _gate_columns}
"""Version -> the migration to the next version. All steps run in one transaction."""
