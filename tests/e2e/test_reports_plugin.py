"""The plugin end to end: records go into the store at once, the table and the files come at the
end.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from paritygate.core.record import SCHEMA
from paritygate_reports.files.jsontext import read_run
from paritygate_reports.store.store import Store
from tests.support import imports
from tests.support.paths import GOLDEN, ROOT
from tests.support.postgresql import ENCODED, PASSWORD, name_of

pytest_plugins = ["pytester"]


# Stands for paritygate.plugin: announces the run and tells a record a test.
CONFTEST = f"""
import sys
import pytest
from paritygate.plugin import hookspecs
from paritygate_reports.files.jsontext import read_run

RUN, RECORDS = read_run({str(GOLDEN / "run.json")!r})

def pytest_sessionstart(session):  # on xdist's controller too
    session.config.stash[hookspecs.RUN] = RUN

def pytest_generate_tests(metafunc):
    if "record" in metafunc.fixturenames:
        metafunc.parametrize("record", RECORDS, ids=lambda record: record.cell)
"""
SPECS = """
def pytest_addhooks(pluginmanager):
    from paritygate.plugin import hookspecs
    pluginmanager.add_hookspecs(hookspecs)
"""
SUITE = """
from conftest import RUN

def test_cell(record, request):
    request.config.hook.pytest_paritygate_record(config=request.config, run=RUN, record=record)
"""


@pytest.fixture(name="project")
def _project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(map(str, (ROOT / "bench", ROOT / "reports", ROOT)))
    )
    monkeypatch.delenv("PARITYGATE_STORE", raising=False)
    pytester.makeconftest(CONFTEST + SPECS)
    pytester.makepyfile(test_suite=SUITE)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_subprocess(
        "-p", "no:paritygate.plugin", "-p", "no:cacheprovider", *arguments
    )


def store_of(path: Path) -> Store:
    return Store(path, make=False)


RUN, RECORDS = read_run(GOLDEN / "run.json")


def test_every_record_is_stored_and_the_table_printed(project: pytest.Pytester):
    result = run(project)
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*= paritygate =*",
            "*20.1k*",
            "9 cells ok*",
            f"records: .paritygate/store.sqlite, run {RUN.id}",
        ]
    )
    found = store_of(project.path / ".paritygate" / "store.sqlite").records(RUN.id, samples=True)
    assert [record.cell for record in found] == [record.cell for record in RECORDS]
    assert found[0].samples == RECORDS[0].samples


def test_records_are_in_the_store_before_the_next_cell(project: pytest.Pytester):
    project.makepyfile(
        test_suite=SUITE
        + """
    import os
    if record.backend == "onnxruntime":
        os._exit(1)
"""
    )
    run(project)
    assert len(store_of(project.path / ".paritygate" / "store.sqlite").records(RUN.id)) == 3


@pytest.mark.parametrize(("arguments", "shown"), [(["-q"], True), (["-qq"], False)])
def test_quiet_keeps_the_table_and_drops_the_tail(
    project: pytest.Pytester, arguments: list[str], shown: bool
):
    out = run(project, *arguments).stdout.str()
    assert "20.1k" in out
    assert "SIGSEGV" in out
    assert ("flex_attention cannot" in out) is shown


def test_reports_are_written_and_named(project: pytest.Pytester):
    result = run(
        project,
        "--bench-report",
        "out/r.csv",
        "--bench-report=r.md",
        "--bench-report=r.json",
        "--bench-report=r.parquet",
        "test_suite.py",
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["report: out/r.csv", "report: r.md", "report: r.json", "report: r.parquet"]
    )
    again = read_run(project.path / "r.json")
    assert [record.samples for record in again[1]] == [record.samples for record in RECORDS]
    assert "octocat" in (project.path / "r.md").read_text("utf-8")


def test_the_ini_file_says_the_same(project: pytest.Pytester):
    project.makeini(
        "[pytest]\nbench_store = kept/s.sqlite\nbench_report =\n    a.md\n    b c.csv\n"
    )
    assert run(project).ret == 0
    assert all((project.path / name).exists() for name in ("kept/s.sqlite", "a.md", "b c.csv"))
    assert not (project.path / ".paritygate").exists()


def test_the_option_wins_over_the_variable_and_that_over_the_ini_file(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
):
    project.makeini("[pytest]\nbench_store = ini.sqlite\n")
    monkeypatch.setenv("PARITYGATE_STORE", "variable.sqlite")
    run(project)
    run(project, "--bench-store", f"sqlite:///{project.path / 'option.sqlite'}")
    found = {path.name for path in project.path.glob("*.sqlite")}
    assert found == {"variable.sqlite", "option.sqlite"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bench-report", "r.xlsx"], "*--bench-report: 'r.xlsx'*.csv, .parquet, .json, .md*"),
        (["--bench-report", "."], "*--bench-report: '.'*must end in*"),
        (["--bench-store", "."], "*--bench-store: '.' is a folder*"),
        (
            ["--bench-store", "test_suite.py"],
            "*--bench-store: 'test_suite.py' is a file of something else*",
        ),
        (["--bench-store", "nonsense://user:hunter2@host/x"], "*--bench-store: *nonsense*"),
    ],
)
def test_a_bad_value_is_a_usage_error(project: pytest.Pytester, arguments: list[str], message: str):
    result = run(project, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    assert "hunter2" not in result.stdout.str() + result.stderr.str()


def test_a_newer_store_is_refused_before_anything_is_measured(project: pytest.Pytester):
    import sqlite3

    path = project.path / "s.sqlite"
    Store(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE paritygate_schema SET version = ?", [SCHEMA + 1])
    connection.close()
    (project.path / "r.md").write_text("of an earlier run")
    result = run(project, "--bench-store", "s.sqlite", "--bench-report", "r.md")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--bench-store: *schema*update paritygate*"])
    assert not {"passed", "paritygate"} & set(
        result.stdout.str().replace(str(project.path), "").split()
    )
    assert (project.path / "r.md").read_text() == "of an earlier run"


def test_a_store_that_breaks_half_way_costs_nothing(project: pytest.Pytester):
    project.makepyfile(
        test_suite=SUITE
        + """
    if record is RECORDS[3]:
        store = request.config.rootpath / "s.sqlite"
        store.unlink()
        store.write_text("gone")
""".replace("RECORDS[3]", "__import__('conftest').RECORDS[3]")
    )
    result = run(project, "--bench-store", "s.sqlite", "--bench-report", "r.json")
    out = result.stdout.str()
    assert result.ret == 0
    assert out.count("stay in memory") == 1
    assert "records: 15 of 15 in no store" in out
    assert "20.1k" in out
    assert len(read_run(project.path / "r.json")[1]) == len(RECORDS)


def test_a_report_that_cannot_be_written_makes_a_green_run_fail(project: pytest.Pytester):
    result = run(project, "--bench-report", "test_suite.py/r.md", "--bench-report", "r.csv")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["report: test_suite.py/r.md could not be written: *", "report: r.csv"]
    )


def test_without_a_run_nothing_is_said_or_made(project: pytest.Pytester):
    project.makeconftest(SPECS)
    project.makepyfile(test_suite="def test_other(): pass")
    result = run(project)
    assert result.ret == 0
    ours = [line for line in result.outlines if "paritygate" in line.replace(str(project.path), "")]
    assert [
        line for line in ours if not line.startswith("plugins:")
    ] == []  # pytest lists what is installed
    assert not (project.path / ".paritygate").exists()


def test_collection_imports_no_heavy_package_and_makes_nothing(project: pytest.Pytester):
    project.makeconftest(
        CONFTEST
        + SPECS
        + """
def pytest_unconfigure(config):
    heavy = {"pandas", "sqlalchemy", "pyarrow", "numpy"} & set(sys.modules)
    print("heavy:", sorted(heavy))
"""
    )
    result = run(project, "--collect-only", "--bench-report=r.parquet", "--bench-store=s.sqlite")
    result.stdout.fnmatch_lines(["heavy: []"])
    assert not list(project.path.glob("*.sqlite"))
    assert not list(project.path.glob("*.parquet"))


def test_xdist_workers_stay_silent_and_the_controller_tells(project: pytest.Pytester):
    pytest.importorskip("xdist")
    result = run(project, "-p", "xdist", "-n", "2")
    assert result.ret == 0
    out = result.stdout.str()
    assert out.count("= paritygate =") == 1
    assert "9 cells ok" in out


@pytest.mark.parametrize(
    "module",
    [
        "paritygate_reports",
        "paritygate_reports.plugin",
        "paritygate_reports.renderers",
        "paritygate_reports.frame",
    ],
)
def test_importing_is_light(module: str):
    assert imports.run(f"import {module}").modules & imports.HEAVY == set()


def secrets_in(result: pytest.RunResult) -> list[str]:
    said = result.stdout.str() + result.stderr.str()
    return [secret for secret in (PASSWORD, ENCODED, "hunter2") if secret in said]


def test_a_database_on_a_server_is_written_and_its_password_never_told(
    project, database: str, monkeypatch
):
    monkeypatch.setenv("PARITYGATE_STORE", database)
    result = run(project, "-v", "-n", "2")  # two that write at once
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [f"records: postgresql+psycopg://tester:[*][*][*]@127.0.0.1:*/store*, run {RUN.id}"]
    )
    found = Store(database).records(RUN.id, samples=True)
    assert sorted(record.cell for record in found) == sorted(record.cell for record in RECORDS)
    assert secrets_in(result) == []


def test_a_server_that_is_away_is_told_before_anything_is_measured(
    project: pytest.Pytester, postgresql
):
    result = run(project, "--bench-store", f"postgresql://tester:{ENCODED}@127.0.0.1:1/runs")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*--bench-store: store postgresql+psycopg://tester:[*][*][*]@127.0.0.1:1/runs: *"]
    )
    assert secrets_in(result) == []


def test_a_database_that_goes_away_half_way_costs_nothing(
    project: pytest.Pytester, database: str, postgresql
):
    project.makepyfile(
        test_suite=SUITE
        + f"""
    if record is __import__('conftest').RECORDS[3]:
        import psycopg
        with psycopg.connect({postgresql.url().replace("+psycopg", "")!r}, autocommit=True) as connection:
            connection.execute("ALTER DATABASE {name_of(database)} ALLOW_CONNECTIONS false")
"""
    )
    result = run(project, "--bench-store", database, "--bench-report", "r.json")
    postgresql.execute(f"ALTER DATABASE {name_of(database)} ALLOW_CONNECTIONS true")
    assert result.ret == 0
    assert result.stdout.str().count("stay in memory") == 1
    assert len(read_run(project.path / "r.json")[1]) == len(RECORDS)
    assert secrets_in(result) == []


@pytest.fixture(name="past")
def _past(project: pytest.Pytester):
    """Writes ten runs of main before this one, in which every cell took that share of its time."""

    def write(share: float) -> None:
        store = Store(project.path / ".paritygate" / "store.sqlite")
        for day in range(1, 11):
            earlier = replace(
                RUN, id=f"earlier-{day}", started=f"2026-01-{day:02}T00:00:00+00:00", branch="main"
            )
            timed = [
                replace(r, latency_p50=r.latency_p50 * share * (1 + day * 1e-4))
                for r in RECORDS
                if r.latency_p50
            ]
            store.write_runs([(earlier, timed)])

    return write


STRICT = """
def pytest_addoption(parser):
    parser.addoption("--bench-strict", action="store_true")
    parser.addini("bench_strict", "", type="bool", default=False)
"""


@pytest.mark.parametrize(
    ("share", "arguments", "status"),
    [
        (1.0, ["--bench-strict"], 0),
        (0.8, [], 0),
        (0.8, ["--bench-strict"], 11),
    ],
)
def test_a_baseline_advises_and_fails_only_when_strict(
    project: pytest.Pytester, past, share, arguments, status
):
    timed = CONFTEST.replace('"record", RECORDS', '"record", [r for r in RECORDS if r.latency_p50]')
    project.makeconftest(timed + SPECS + STRICT)
    past(share)
    result = run(project, "--bench-baseline", "main", *arguments)

    assert result.ret == status
    out = result.stdout.str()
    assert f"run {RUN.id[:8]} against 10 runs of main" in out
    assert ("regressed      +24.9%" in out) is (share < 1)
    assert "`pytest bench --bench-against` decides" in " ".join(out.split())


def test_a_baseline_that_is_not_there_is_told(project: pytest.Pytester):
    result = run(project, "--bench-baseline", "nowhere")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["baseline: nothing was compared: *has no run 'nowhere'*"])
    project.makeconftest(CONFTEST + SPECS + STRICT)
    assert run(project, "--bench-baseline", "nowhere", "--bench-strict").ret == 15


def test_the_ini_twin_names_a_baseline(project: pytest.Pytester, past):
    past(1.0)
    project.makeini("[pytest]\nbench_baseline = main\n")

    assert "against 10 runs of main" in run(project).stdout.str()
