"""The URL of a store: read, shown to people, and its secrets kept out of any other text."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, quote_plus

import sqlalchemy as sa

from paritygate_reports.places import is_url
from paritygate_reports.store.errors import StoreError

POSTGRESQL = "postgresql+psycopg"
DRIVERS = {"sqlite": "sqlite", "sqlite+pysqlite": "sqlite"} | dict.fromkeys(
    ("postgres", "postgresql", POSTGRESQL), POSTGRESQL
)
"""What a URL may begin with -> the driver that is used."""
SHOWN = ("host", "port", "options")
"""What is told of a URL's query; anything else may be a secret."""


def parsed(url: str | Path) -> sa.URL:
    """The URL of a path or a URL; raises ``StoreError`` for what is neither, without repeating
    it.
    """
    text = str(url)
    if not is_url(text):
        return sa.URL.create("sqlite", database=text)
    try:
        found = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise _no_url(text) from None  # the message may repeat the URL with its password
    if found.drivername not in DRIVERS:
        raise StoreError(
            f"{found.drivername}:// is no database that is known here: give the path of a SQLite file, "
            f"or {POSTGRESQL}://user@host/name"
        )
    found = found.set(drivername=DRIVERS[found.drivername])
    if found.drivername == POSTGRESQL and "@" in f"{found.host}{found.database}":
        raise _no_url(text)  # the rest of a password with an @ in it
    return found


def shown(url: sa.URL) -> str:
    """What to call the store in front of people: a file's path, or the URL without its secrets."""
    if url.drivername == "sqlite":
        return str(url.database)
    kept = {name: masked(url, str(value)) for name, value in url.query.items() if name in SHOWN}
    return url.set(query=kept).render_as_string(hide_password=True)


def masked(url: sa.URL, text: str) -> str:
    """The text with ``***`` for each of the URL's passwords, plain, quoted or percent-encoded."""
    secrets = {
        str(url.password or ""),
        *(str(value) for name, value in url.query.items() if "pass" in name),
    }
    forms = {
        write(secret)
        for secret in secrets - {""}
        for write in (str, _escaped, quote, _quoted, quote_plus)
    }
    # the longest first: one may be a part of another
    for form in sorted(forms, key=len, reverse=True):
        text = re.sub(re.escape(form), "***", text, flags=re.IGNORECASE)
    return text


def _escaped(text: str) -> str:
    return repr(text)[1:-1]


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _no_url(text: str) -> StoreError:
    begin = re.match(r"[\w+]+:", text)
    what = f"{begin.group()}... " if begin else "this "
    return StoreError(
        f"{what}is no URL of a database (the rest is not shown, it may hold a password): give the path of a file, "
        f"or {POSTGRESQL}://user:password@host/name with every @ : / ? # % of the password percent-encoded"
    )
