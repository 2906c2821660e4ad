"""The reports of one session: store each record at once; at the end print the table and write the
files.

``paritygate_reports.plugin`` calls these functions. They import pandas, sqlalchemy and pyarrow only
when there is a record: importing them takes longer than collecting the whole matrix.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from paritygate.core.exitstatus import Exit
from paritygate.core.extras import install
from paritygate.core.record import Verdict
from paritygate.host.paths import home
from paritygate.plugin.hookspecs import RUN, WHY
from paritygate_reports.files import writers
from paritygate_reports.places import STORE_FILE, STORE_VARIABLE, is_url

if TYPE_CHECKING:
    from paritygate.core.record import Record, Run
    from paritygate_reports.analysis.against_history import Advice
    from paritygate_reports.store.store import Store
    from paritygate_reports.view.sections import Section

TONES = {"good": {"green": True}, "bad": {"red": True}, "title": {"bold": True}}


@dataclass
class SessionReport:
    """The records of this session, and the places where they go.

    Records stay in memory as well, so that the run goes on if the store breaks.
    """

    url: str | None  # None: the default store; its folder is made with the first record only
    reports: tuple[Path, ...]
    store: Store | None = None
    trouble: str = ""  # why the store does not work
    seen: dict[str, Record] = field(default_factory=dict)  # cell -> its record
    unstored: set[str] = field(default_factory=set)  # cells whose records are in no store
    places: list[str] = field(default_factory=list)  # lines: where records and files are
    advice: Advice | None = None  # the comparison with --bench-baseline


REPORT = pytest.StashKey[SessionReport]()


def report_of(config: pytest.Config) -> SessionReport:
    """Return the report of this session. The first call raises ``UsageError`` for an option that
    cannot work.
    """
    if REPORT not in config.stash:
        config.stash[REPORT] = SessionReport(_store_url(config), tuple(_report_paths(config)))
    return config.stash[REPORT]


def open_store(config: pytest.Config) -> None:
    """Open the store before the first cell: an hour of measuring must not end with a refused
    store.
    """
    from paritygate_reports.store.database import StoreError

    try:
        _open(config)
    except StoreError as error:
        raise pytest.UsageError(f"--bench-store: {error}") from error


def keep(config: pytest.Config, run: Run, record: Record) -> None:
    """Write the record to the store."""
    report = report_of(config)
    report.seen[record.cell] = record
    try:
        _open(config).write(run, record)
        report.unstored.discard(record.cell)
    except Exception as error:  # whatever it is, a bug of ours included: the measuring goes on
        report.unstored.add(record.cell)
        if not report.trouble:
            report.trouble = str(error)
            _say(config, f"paritygate: {error}; records stay in memory until the end of this run")


def finish(session: pytest.Session) -> None:
    """Write the reports. If one cannot be written, a green session fails, since the user asked for
    it.
    """
    config = session.config
    report, run = report_of(config), config.stash[RUN]
    records = _records(config, run)
    report.advice = _advice(config, run)
    if session.exitstatus == pytest.ExitCode.OK and _baseline_name(config) and _strict(config):
        slower = report.advice and any(
            row["verdict"] == Verdict.REGRESSED for row in report.advice.rows
        )
        name = _baseline_name(config)
        if slower:
            session.exitstatus = Exit.REGRESSION
            config.stash[WHY] = f"slower than --bench-baseline {name} (--bench-strict)"
        elif not report.advice:
            session.exitstatus = Exit.UNDECIDED
            config.stash[WHY] = (
                f"nothing was compared with --bench-baseline {name} (--bench-strict)"
            )
    run.environment["exit_status"] = int(session.exitstatus)  # a red run is never titled "ok"
    _write_run(config, run, records)
    report.places.insert(0, _store_line(config, run, records))
    for path in report.reports:
        try:
            writers.write(path, run, records, report.places[:1])
            report.places.append(f"report: {_short(config, path)}")
        except Exception as error:  # the other reports and the table must still come
            report.places.append(
                f"report: {_short(config, path)} could not be written: {install(error) or error}"
            )
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED


def print_table(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table of this run. With ``-qq`` print only the sections that report something
    bad.
    """
    from paritygate_reports.renderers import terminal

    run, report = config.stash[RUN], report_of(config)
    terminalreporter.section("paritygate")
    brief = config.get_verbosity() <= -2
    records = _records(config, run)
    for line in terminal.lines(run, records, report.places, brief, _baseline(report)):
        terminalreporter.write_line(line.text, **TONES.get(line.tone, {}))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from paritygate_reports.renderers import github

        for command in github.commands(run, records):
            terminalreporter.write_line(command)
        if os.environ.get("GITHUB_STEP_SUMMARY"):
            github.write_summary(os.environ, run, records, report.places)


def _advice(config: pytest.Config, run: Run) -> Advice | None:
    """Return the comparison with the baseline, None without one. If it fails, add the reason to
    ``places``.
    """
    report, name = report_of(config), _baseline_name(config)
    if not name:
        return None
    try:
        from paritygate_reports.analysis.against_history import advise

        advice = advise(_open(config), name, run)
        here = advice.frame["verdict"] != str(Verdict.MISSING)  # cells that were not selected
        return replace(advice, frame=advice.frame[here])
    except Exception as error:  # the reports and the table must still come
        report.places.append(f"baseline: nothing was compared: {install(error) or error}")
        return None


def _baseline_name(config: pytest.Config) -> str:
    return str(config.getoption("--bench-baseline") or config.getini("bench_baseline"))


def _strict(config: pytest.Config) -> bool:
    """Return whether ``--bench-strict`` is set. A session without paritygate.plugin has no such
    option.
    """
    try:
        return bool(
            config.getoption("--bench-strict", default=False) or config.getini("bench_strict")
        )
    except (KeyError, ValueError):
        return False


def _baseline(report: SessionReport) -> list[Section]:
    """Return the terminal's section on the comparison: the cells that are not the same, and how
    many are.
    """
    if report.advice is None:
        return []
    from paritygate_reports.renderers.against_history import CONFIRM, line
    from paritygate_reports.view.sections import Item, Section

    rows = report.advice.rows
    items = [Item(line(row)) for row in rows if row["verdict"] != Verdict.SAME]
    items.append(
        Item(
            f"{sum(row['verdict'] == Verdict.SAME for row in rows)} of {len(rows)} cells same. {CONFIRM}"
        )
    )
    return [Section(report.advice.title, tuple(items), bad=report.advice.bad)]


def _store_url(config: pytest.Config) -> str | None:
    """Return the store's URL or absolute path, None for the default. Raises ``UsageError`` if it
    cannot be a store.
    """
    for source, value, base in (
        ("--bench-store", config.getoption("--bench-store"), config.invocation_params.dir),
        (STORE_VARIABLE, os.environ.get(STORE_VARIABLE), config.invocation_params.dir),
        ("ini bench_store", config.getini("bench_store"), config.rootpath),
    ):
        if value and is_url(value):
            return str(value)
        if value:
            path = Path(base, value).absolute()
            if why := _no_store(path):
                raise pytest.UsageError(f"{source}: {value!r} {why}")
            return str(path)
    return None


def _no_store(path: Path) -> str | None:
    """Return why the path cannot be a store, or None. A quick check, without sqlalchemy."""
    if path.is_dir():
        return f"is a folder; give a file in it, e.g. {path / 'store.sqlite'}"
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        return None  # it will be made
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if start and start != b"SQLite format 3\0":
        return "is a file of something else (nothing was changed); give a new file, or a store"
    return None


def _report_paths(config: pytest.Config) -> list[Path]:
    """Return the report files as absolute paths, each once. Raises ``UsageError`` for a file that
    cannot be written.
    """
    here = config.invocation_params.dir
    given = [("--bench-report", value, here) for value in config.getoption("--bench-report")]
    given += [
        ("ini bench_report", value, config.rootpath) for value in config.getini("bench_report")
    ]
    paths: dict[Path, None] = {}
    for source, value, base in given:
        path = Path(base, value).absolute()
        if why := writers.problem(path):
            raise pytest.UsageError(f"{source}: {value!r} cannot be written: {why}")
        paths[path] = None
    return list(paths)


def _open(config: pytest.Config) -> Store:
    """Return the session's store, opened at its first use."""
    report = report_of(config)
    if report.store is None:
        from paritygate_reports.store.store import Store

        report.store = Store(report.url or home(config.rootpath) / STORE_FILE)
    return report.store


def _records(config: pytest.Config, run: Run) -> Sequence[Record]:
    """Return the run's records: those in the store (xdist's workers write there), and those that
    are not stored.
    """
    report = report_of(config)
    try:
        stored = {
            record.cell: record
            for record in _open(config).records(run.id, samples=bool(report.reports))
        }
    except Exception as error:
        # the store broke after it was written: the records of this process remain
        report.trouble = report.trouble or str(error)
        report.unstored = set(report.seen)
        return list(report.seen.values())
    return list((stored | {cell: report.seen[cell] for cell in report.unstored}).values())


def _write_run(config: pytest.Config, run: Run, records: Sequence[Record]) -> None:
    """Write what is known only at the end of the run: its time and its exit status."""
    report = report_of(config)
    if report.trouble or not records:
        return
    try:
        _open(config).write_runs([(run, [])])
    except Exception as error:
        report.trouble = str(error)


def _store_line(config: pytest.Config, run: Run, records: Sequence[Record]) -> str:
    report = report_of(config)
    if report.trouble:
        return f"records: {len(report.unstored)} of {len(records)} in no store, only here: {report.trouble}"
    assert report.store is not None  # _records has opened it
    return f"records: {_short(config, report.store.name)}, run {run.id}"


def _short(config: pytest.Config, path: Path | str) -> str:
    """Return the path relative to pytest's start folder if it is below it; else the path as
    it is.
    """
    start = config.invocation_params.dir
    return str(Path(path).relative_to(start)) if Path(path).is_relative_to(start) else str(path)


def _say(config: pytest.Config, line: str) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    # a test is running: its capture would swallow the line
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is not None:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            reporter.ensure_newline()
            reporter.write_line(line, red=True)
