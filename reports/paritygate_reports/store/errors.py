"""StoreError, and advice on messages of databases: ADVICE is the table."""

from __future__ import annotations

import re

from paritygate.core.errors import UserError

WAIT_SECONDS = 30  # how long a writer waits for another one


class StoreError(UserError):
    """A store cannot be opened, read or written. The message names it and says what to do. Nothing
    was changed.
    """


# Pattern -> advice; the first match counts. A word of five characters is PostgreSQL's code, which is
# the same in every language; errors while connecting come without a code.
ADVICE = (
    ("not a database", "Nothing was changed: give another --bench-store, or move that file away"),
    (
        "malformed",
        "The file is damaged, nothing was changed: `sqlite3 FILE .recover` saves what is left; "
        "move it away to start a new one",
    ),
    (
        "locked|55P03|lock timeout",
        f"Another process held it for {WAIT_SECONDS} s: wait, or give another --bench-store",
    ),
    ("readonly|read-only|unable to open", "Give a --bench-store that can be written"),
    ("disk is full|53100|No space left", "Make room on the disk, or give another --bench-store"),
    ("No module named|no pq wrapper", "Install the driver: pip install 'psycopg[binary]'"),
    (
        "28P01|password authentication failed|no password supplied",
        "Check user and password: in the URL (percent-encoded), in ~/.pgpass, or in $PGPASSWORD",
    ),
    ('3D000|database ".*" does not exist', "Make it first: createdb NAME"),
    (
        '28000|role ".*" does not exist|no pg_hba.conf entry',
        "Check the user, and whether the server lets it in from here (pg_hba.conf)",
    ),
    (
        "42501",
        "Let this user create tables there (GRANT CREATE ON SCHEMA), or give a database of its own",
    ),
    ("3F000", "Make the schema that the URL names first: CREATE SCHEMA"),
    ("22P05|no equivalent in encoding", "Give a database with ENCODING 'UTF8'"),
    (
        "53300|too many clients|remaining connection slots",
        "Wait until others have ended, or raise max_connections",
    ),
    (
        "40P01",
        "Another process wrote the same runs in another order, nothing was written: try again",
    ),
    (
        "closed the connection|terminating connection|connection was lost",
        "The server ended the connection, nothing was written: try again",
    ),
    (
        "refused|time(d )?out|resolve|host name|No route|unreachable|No such file",
        "Start the server, or check host and port",
    ),
)


def advice(what: str) -> str:
    """Return what to do about a message of a database."""
    matches = (then for pattern, then in ADVICE if re.search(pattern, what))
    return next(matches, "Check the URL, or give another --bench-store")
