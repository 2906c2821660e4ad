"""The URL of a store: parse it, show it to people, and keep its secrets out of other texts."""

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
"""Start of a URL -> the driver that is used."""
SHOWN = ("host", "port", "options")
"""The parameters of a URL's query that are shown; any other may be a secret."""


def parsed(url: str | Path) -> sa.URL:
    """Return the URL of a path or a URL. Raises ``StoreError``, without repeating the text, if it
    is neither.
    """
    text = str(url)
    if not is_url(text):
        return sa.URL.create("sqlite", database=text)
    try:
        parsed_url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise _no_url(text) from None  # the message may repeat the URL with its password
    if parsed_url.drivername not in DRIVERS:
        raise StoreError(
            f"{parsed_url.drivername}:// is no database that is known here: give the path of a SQLite file, "
            f"or {POSTGRESQL}://user@host/name"
        )
    parsed_url = parsed_url.set(drivername=DRIVERS[parsed_url.drivername])
    if parsed_url.drivername == POSTGRESQL and "@" in f"{parsed_url.host}{parsed_url.database}":
        raise _no_url(text)  # the rest of a password with an @ in it
    return parsed_url


def shown(url: sa.URL) -> str:
    """Return the name of the store for people: a file's path, or the URL without its secrets."""
    if url.drivername == "sqlite":
        return str(url.database)
    kept = {name: masked(url, str(value)) for name, value in url.query.items() if name in SHOWN}
    return url.set(query=kept).render_as_string(hide_password=True)


def masked(url: sa.URL, text: str) -> str:
    """Return the text with ``***`` in place of each of the URL's passwords, plain, quoted or
    percent-encoded.
    """
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
