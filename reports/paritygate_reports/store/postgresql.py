"""PostgreSQL: opens a store on a server, and locks it while one process makes or migrates it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from paritygate_reports.store.errors import WAIT_SECONDS

# seconds to wait for a server that does not answer, unless the URL has connect_timeout
CONNECT_SECONDS = 10
LOCK = 0x706172697479  # "parity": the key of our advisory lock within a database
READING: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""All statements of a reader see one state: no run without its records."""
APART = (
    "use a database of its own; or make a schema there (CREATE SCHEMA paritygate) and end the URL with "
    "?options=-csearch_path%3Dparitygate"
)


def engine(url: sa.URL, _make: bool, /) -> sa.Engine:
    """Return the engine for a database on a server. Does not connect yet.

    The database must exist: the owner of the server makes databases.
    """
    waits = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
    made = sa.create_engine(url, poolclass=NullPool, connect_args=waits)

    @sa.event.listens_for(made, "begin")
    def _begun(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("writes"):
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'")

    return made


def lock(connection: sa.Connection) -> None:
    """Wait until no other process makes or migrates the tables. The lock is held to the end of the
    transaction.

    CREATE TABLE alone is not enough: two at once fail on PostgreSQL's own catalogue, with IF NOT
    EXISTS, too.
    """
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
