"""What only a server can do: be away, refuse, hold other people's tables; and that the password is
never told.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import sqlalchemy as sa

from paritygate.__main__ import main
from paritygate.core.record import Record, Run, Status
from paritygate_reports.frame import load
from paritygate_reports.store import postgresql as dialect
from paritygate_reports.store import store as store_module
from paritygate_reports.store.database import StoreError
from paritygate_reports.store.store import Store
from tests.support.paths import ROOT
from tests.support.postgresql import ENCODED, PASSWORD, Server, name_of

RUN = Run("run-1", "2026-11-22T08:00:00+00:00", "quick", True, 0)
RECORD = Record("c-s-cpu-eager-fp32", "c", "s", "cpu", "eager", "fp32", Status.OK)
WITHOUT_PSYCOPG = """
import sys
class Absent:
    def find_spec(self, name, *_):
        if name == "psycopg":
            raise ModuleNotFoundError("No module named 'psycopg'")
sys.meta_path.insert(0, Absent())
from paritygate_reports.store.store import Store
Store(sys.argv[1])
"""
SECRETS = (PASSWORD, ENCODED, "hunter2")


def refused(url: str, make: bool = True) -> str:
    """What the store says for not opening, which holds no secret."""
    with pytest.raises(StoreError) as caught:
        Store(url, make)
    told = f"{caught.value} {caught.value.__cause__!r}"
    assert not [secret for secret in SECRETS if secret in told]
    return str(caught.value)


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(postgresql: Server, monkeypatch):
    monkeypatch.setattr(dialect, "CONNECT_SECONDS", 2)
    start = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = refused(postgresql.url().replace(str(postgresql.port), str(silent.getsockname()[1])))

    assert "Start the server, or check host and port" in said
    assert time.monotonic() - start < 6


def test_who_is_not_let_in_is_told_what_to_do(postgresql: Server, database: str):
    wrong = f"postgresql+psycopg://tester:hunter2-wrong@127.0.0.1:{postgresql.port}"
    assert "percent-encoded" in refused(f"{wrong}/postgres")
    # none at all
    assert "percent-encoded" in refused(wrong.replace(":hunter2-wrong", "") + "/postgres")
    assert "Make it first: createdb" in refused(postgresql.url("no_such_database"))
    assert "Start the server" in refused(database.replace(str(postgresql.port), "1"))
    assert "Start the server" in refused(database.replace("127.0.0.1", "nowhere.invalid"))
    assert "Make the schema" in refused(database + "?options=-csearch_path%3Dnone_such")


@pytest.mark.parametrize(
    "query",
    [
        f"sslmode={ENCODED}",
        f"port={ENCODED}",
        "sslmode=hunter2%252F%25C3%25BC%2540",
        f"options=-c%20x%3D{ENCODED}",
    ],
)
def test_a_message_that_repeats_the_password_is_masked(database: str, query: str):
    assert "***" in refused(f"{database}?{query}")


def test_a_driver_that_is_missing_is_named(database: str):
    command = [sys.executable, "-c", WITHOUT_PSYCOPG, database]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stderr.rstrip().endswith("Install the driver: pip install 'psycopg[binary]'")
    assert not [secret for secret in SECRETS if secret in done.stderr]


def test_other_peoples_tables_are_left_alone_and_a_schema_of_ones_own_is_the_way_out(
    postgresql: Server, database: str
):
    name = name_of(database)
    postgresql.execute("CREATE TABLE runs (theirs int)", name)

    said = refused(database)
    assert f"{name} is a database of something else (it has runs); nothing was changed" in said
    assert "?options=-csearch_path%3Dparitygate" in said

    postgresql.execute("CREATE SCHEMA paritygate", name)
    store = Store(f"{database}?options=-csearch_path%3Dparitygate")
    store.write(RUN, RECORD)
    assert store.records(RUN.id) == [RECORD]
    assert store.name.endswith(f"/{name}?options=-csearch_path%3Dparitygate")
    tables = postgresql.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE tablename = 'runs'", name
    )
    assert sorted(tables) == [("paritygate", "runs"), ("public", "runs")]


def test_a_user_who_may_only_read_reads_and_is_told_why_it_does_not_write(
    postgresql: Server, database: str
):
    Store(database).write(RUN, RECORD)
    name = name_of(database)
    postgresql.execute("CREATE ROLE reader LOGIN PASSWORD 'hunter2-reader'", name)
    try:
        postgresql.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", name)
        reader = Store(
            f"postgresql+psycopg://reader:hunter2-reader@127.0.0.1:{postgresql.port}/{name}",
            make=False,
        )
        assert reader.records(RUN.id) == [RECORD]
        with pytest.raises(StoreError, match="GRANT CREATE ON SCHEMA"):
            reader.write(RUN, RECORD)
    finally:
        postgresql.execute("DROP OWNED BY reader", name)
        postgresql.execute("DROP ROLE reader")


def test_reading_makes_no_tables(postgresql: Server, database: str):
    assert "there is no store in postgresql+psycopg://tester:***@127.0.0.1" in refused(
        database, make=False
    )
    assert (
        postgresql.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'", name_of(database)
        )
        == []
    )


def test_who_makes_the_tables_waits_for_another_who_does(database: str, postgresql: Server):
    opened = threading.Thread(target=Store, args=[database], daemon=True)
    with postgresql.connect(name_of(database)) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [dialect.LOCK])
        opened.start()
        opened.join(0.5)
        assert opened.is_alive()
    opened.join(10)
    assert not opened.is_alive()
    assert Store(database, make=False).runs() == []


def test_a_lock_that_is_never_released_is_not_waited_for_for_ever(
    database: str, postgresql: Server, monkeypatch
):
    monkeypatch.setattr(dialect, "WAIT_SECONDS", 1)
    store = Store(database)
    store.write(RUN, RECORD)
    with postgresql.connect(name_of(database)) as other:
        other.execute("UPDATE runs SET budget = 'long'")
        with pytest.raises(StoreError, match="Another process held it"):
            store.write(RUN, RECORD)
        assert len(store.records(RUN.id)) == 1  # who reads waits for nobody


def test_a_run_that_comes_while_others_are_read_is_not_half_there(database: str, monkeypatch):
    # asked after the runs were read, before their records are
    def late(
        *_: object,
    ) -> sa.ColumnElement[bool]:
        Store(database).write(replace(RUN, id="late"), RECORD)
        return sa.true()

    Store(database).write(RUN, RECORD)
    monkeypatch.setattr(store_module, "_matching", late)
    assert list(load(database)["run"]) == ["run-1"]
    assert len(Store(database).runs()) == 2


def test_a_server_that_ends_a_connection_is_told_and_nothing_is_half_written(
    database: str, postgresql: Server
):
    def records():
        yield RECORD
        ending = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name_of(database)}'"
        postgresql.execute(ending)

    store = Store(database)
    with pytest.raises(
        StoreError,
        match="The server ended the connection, nothing was written: try again",
    ):
        store.write_runs([(RUN, records())])
    assert store.runs() == []
    store.write(RUN, RECORD)


@pytest.mark.parametrize(
    "command",
    [
        ["runs"],
        ["show"],
        ["compare", "main"],
        ["prune", "--keep", "5"],
        ["show", "nothing"],
        ["export", "FOLDER"],
        ["import", "FOLDER"],
        ["html", "-o", "FOLDER/r.html"],
        ["site", "FOLDER/site"],
        ["trend", "c-*"],
    ],
)
def test_no_command_tells_the_password(database: str, command, tmp_path, capsys, monkeypatch):
    store = Store(database)
    store.write(
        replace(RUN, branch="main"), replace(RECORD, latency_p50=1e-3, throughput=1e3, unit="row")
    )
    main(["--store", database, "export", str(tmp_path)])
    arguments = [word.replace("FOLDER", str(tmp_path)) for word in command]
    for given in (["--store", database, *arguments], arguments):
        monkeypatch.setenv("PARITYGATE_STORE", database)
        assert main(given) == (2 if "nothing" in command else 0)
    told = "".join(capsys.readouterr())

    if command[0] in ("show", "prune", "import"):
        assert "tester:***@127.0.0.1" in told
    told += "".join(path.read_text("utf-8") for path in tmp_path.rglob("*.*") if path.is_file())
    assert not [secret for secret in SECRETS if secret in told]
