"""A store's URL: what is one, what it is called in front of people, and that its password never
is.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from paritygate_reports.places import is_url
from paritygate_reports.store.errors import StoreError, advice
from paritygate_reports.store.store import Store
from paritygate_reports.store.urls import masked, parsed, shown


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("s.sqlite", "s.sqlite"),
        ("/a b/ü:x@y.sqlite", "/a b/ü:x@y.sqlite"),
        ("sqlite:////a/s.sqlite", "/a/s.sqlite"),
        ("./postgresql:x", "./postgresql:x"),
        ("postgresql://me:hunter2@host/runs", "postgresql+psycopg://me:***@host/runs"),
        ("postgres://host/runs", "postgresql+psycopg://host/runs"),
        (
            "postgresql+psycopg://me:h%40%2Fx@[::1]:5433/runs?password=hunter2&sslmode=require&options=-csearch_path%3Dours",
            "postgresql+psycopg://me:***@[::1]:5433/runs?options=-csearch_path%3Dours",
        ),
    ],
)
def test_a_store_is_called_by_its_path_or_by_its_url_without_secrets(text, name):
    assert shown(parsed(text)) == name


@pytest.mark.parametrize(
    "url",
    [
        "nonsense://user:hunter2@host/db",
        "mysql+pymysql://user:hunter2@host/db",
        "postgresql+nodriver://user:hunter2@host/db?password=hunter2",
        "bad url://user:hunter2@host:port/db?password=hunter2",
        "postgresql://user:hunter2@host:port/db",
        "postgresql://user:half@hunter2@host/db",
        "postgresql://user:half@hun/ter2@host/db",
        "user:hunter2@host/db",
        "postgresql:user:hunter2@host/db",
        "postgresql:/user:hunter2@host/db",
        "host=x dbname=y password=hunter2",
    ],
)
def test_what_is_no_url_is_refused_without_its_password(url):
    with pytest.raises(
        StoreError, match=r"give the path of a (SQLite )?file, or postgresql\+psycopg://"
    ) as caught:
        Store(url)

    assert not {"hunter2", "ter2", "half"} & {
        word for word in ("hunter2", "ter2", "half") if word in str(caught.value)
    }
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert is_url(url)


@pytest.mark.parametrize(
    "secret",
    [
        "hunter/2 ü",
        "hunter%2F2%20%C3%BC",
        "hunter%2f2+%c3%bc",
        "hunter/2%20%C3%BC",
        "HUNTER/2 Ü",
        "second one",
    ],
)
def test_a_password_is_masked_however_it_is_written(secret):
    url = sa.make_url(
        "postgresql+psycopg://me:hunter%2F2%20%C3%BC@host/runs?sslpassword=second%20one"
    )

    assert masked(url, f"wrong: '{secret}', said me@host") == "wrong: '***', said me@host"


def test_without_a_password_nothing_is_masked():
    assert masked(sa.make_url("postgresql+psycopg://me@host/runs"), "all of it") == "all of it"


@pytest.mark.parametrize(
    ("what", "then"),
    [
        ("28P01 FATAL: Passwort falsch", "percent-encoded"),
        ('FATAL: database "x" does not exist', "createdb"),
        ("42501 keine Berechtigung", "GRANT CREATE"),
        ("connection refused", "Start the server"),
        ("No module named 'psycopg'", "psycopg[binary]"),
        ("no such thing ever", "Check the URL"),
        ("connection timeout expired", "Start the server"),
        ("database or disk is full", "Make room"),
    ],
)
def test_a_message_of_a_database_brings_its_advice(what, then):
    assert then in advice(what)
