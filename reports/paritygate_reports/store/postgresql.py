"""PostgreSQL: how a store on a server is opened, and what keeps processes apart that make or
migrate it at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from paritygate_reports.store.errors import WAIT_SECONDS

# a server that does not answer is waited for so long, unless the URL says connect_timeout
CONNECT_SECONDS = 10
LOCK = 0x706172697479  # "parity": a number by which our own processes know each other within a database
READING: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""All statements of a reader see one state: a run that comes in between has no records either."""
APART = (
    "give a database of its own; or make a schema there (CREATE SCHEMA paritygate) and end the URL with "
    "?options=-csearch_path%3Dparitygate"
)


def engine(url: sa.URL, _make: bool, /) -> sa.Engine:
    """The engine for a database on a server; connects to nothing yet.

    The database must exist whether or not a store is to be made in it: a server's databases are its
    owner's to make.
    """
    waits = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
    made = sa.create_engine(url, poolclass=NullPool, connect_args=waits)

    @sa.event.listens_for(made, "begin")
    def _begun(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("writes"):
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'")

    return made


def lock(connection: sa.Connection) -> None:
    """Waits until no other process makes or migrates the tables; held to the end of the
    transaction.

    CREATE TABLE is no help: two at once fail on PostgreSQL's own catalogue, with IF NOT EXISTS,
    too.
    """
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
