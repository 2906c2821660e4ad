"""What a session tells: stores each record at once; at the end prints the table and writes the
files.

``paritygate_reports.plugin`` calls these functions. pandas, sqlalchemy and pyarrow are imported
inside them, once there is a record: importing them takes longer than collecting the whole matrix
does.
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
class Told:
    """What this session has to tell: where its records go, and the records themselves.

    They stay in memory as well, so that a store that breaks in the middle of a run costs the run
    nothing.
    """

    url: str | None  # None: the default store, whose folder is made with the first record only
    reports: tuple[Path, ...]
    store: Store | None = None
    trouble: str = ""  # why the store does not work
    seen: dict[str, Record] = field(default_factory=dict)  # cell -> its record
    unstored: set[str] = field(default_factory=set)  # the cells of those that are in no store
    places: list[str] = field(default_factory=list)  # lines: where records and files are
    advice: Advice | None = None  # how the run stands to the branch of --bench-baseline


TOLD = pytest.StashKey[Told]()


def told_of(config: pytest.Config) -> Told:
    """What this session tells. Raises ``UsageError`` for an option that could not work, when first
    asked for.
    """
    if TOLD not in config.stash:
        config.stash[TOLD] = Told(_store_url(config), tuple(_report_paths(config)))
    return config.stash[TOLD]


def open_store(config: pytest.Config) -> None:
    """Open the store before the first cell: an hour's measuring must not end at a store that is
    refused.
    """
    from paritygate_reports.store.database import StoreError

    try:
        _open(config)
    except StoreError as error:
        raise pytest.UsageError(f"--bench-store: {error}") from error


def keep(config: pytest.Config, run: Run, record: Record) -> None:
    """Write the record into the store at once."""
    told = told_of(config)
    told.seen[record.cell] = record
    try:
        _open(config).write(run, record)
        told.unstored.discard(record.cell)
    except Exception as error:  # whatever it is, a bug of ours included: the measuring goes on
        told.unstored.add(record.cell)
        if not told.trouble:
            told.trouble = str(error)
            _say(config, f"paritygate: {error}; records stay in memory until the end of this run")


def finish(session: pytest.Session) -> None:
    """Write the reports. One that cannot be written makes a green session fail: somebody asked for
    it.
    """
    config = session.config
    told, run = told_of(config), config.stash[RUN]
    records = _records(config, run)
    told.places[:] = [_store_line(config, run, records)]
    told.advice = _advice(config, run)
    if session.exitstatus == pytest.ExitCode.OK and _baseline_name(config) and _strict(config):
        slower = told.advice and any(
            row["verdict"] == Verdict.REGRESSED for row in told.advice.rows
        )
        name = _baseline_name(config)
        if slower:
            session.exitstatus = Exit.REGRESSION
            config.stash[WHY] = f"slower than --bench-baseline {name} lets expect (--bench-strict)"
        elif not told.advice:
            session.exitstatus = Exit.UNDECIDED
            config.stash[WHY] = (
                f"nothing was compared with --bench-baseline {name} (--bench-strict)"
            )
    for path in told.reports:
        try:
            writers.write(path, run, records, told.places[:1])
            told.places.append(f"report: {_short(config, path)}")
        except Exception as error:  # the other reports and the table must still come
            told.places.append(
                f"report: {_short(config, path)} could not be written: {install(error) or error}"
            )
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED


def print_table(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table of this run; with ``-qq`` without the sections that are about nothing bad."""
    from paritygate_reports.renderers import terminal

    run, told = config.stash[RUN], told_of(config)
    terminalreporter.section("paritygate")
    brief = config.get_verbosity() <= -2
    records = _records(config, run)
    for line in terminal.lines(run, records, told.places, brief, _baseline(told)):
        terminalreporter.write_line(line.text, **TONES.get(line.tone, {}))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from paritygate_reports.renderers import github

        for command in github.commands(run, records):
            terminalreporter.write_line(command)
        if os.environ.get("GITHUB_STEP_SUMMARY"):
            github.write_summary(os.environ, run, records, told.places)


def _advice(config: pytest.Config, run: Run) -> Advice | None:
    """How the run stands to the baseline, None without one; what prevents it is told where the
    records are.
    """
    told, name = told_of(config), _baseline_name(config)
    if not name:
        return None
    try:
        from paritygate_reports.analysis.against_history import advise

        found = advise(_open(config), name, run)
        here = found.frame["verdict"] != str(Verdict.MISSING)  # what was not selected is not lost
        return replace(found, frame=found.frame[here])
    except Exception as error:  # the reports and the table must still come
        told.places.append(f"baseline: nothing was compared: {install(error) or error}")
        return None


def _baseline_name(config: pytest.Config) -> str:
    return str(config.getoption("--bench-baseline") or config.getini("bench_baseline"))


def _strict(config: pytest.Config) -> bool:
    """Whether ``--bench-strict`` holds; a session without paritygate.plugin has no such option."""
    try:
        return bool(
            config.getoption("--bench-strict", default=False) or config.getini("bench_strict")
        )
    except (KeyError, ValueError):
        return False


def _baseline(told: Told) -> list[Section]:
    """What the terminal tells of the advice: what is not simply the same, and how many are."""
    if told.advice is None:
        return []
    from paritygate_reports.renderers.against_history import CONFIRM, line
    from paritygate_reports.view.sections import Item, Section

    rows = told.advice.rows
    items = [Item(line(row)) for row in rows if row["verdict"] != Verdict.SAME]
    items.append(
        Item(
            f"{sum(row['verdict'] == Verdict.SAME for row in rows)} of {len(rows)} cells same. {CONFIRM}"
        )
    )
    return [Section(told.advice.title, tuple(items), bad=told.advice.bad)]


def _store_url(config: pytest.Config) -> str | None:
    """The store's URL or absolute path, None for the default; raises ``UsageError`` where it cannot
    be.
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
    """Why the path cannot be a store, as far as a glance tells (no import of sqlalchemy), or
    None.
    """
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
    """The report files as absolute paths, each once; raises ``UsageError`` for what cannot be
    written.
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
            raise pytest.UsageError(f"{source}: {value!r} cannot be: {why}")
        paths[path] = None
    return list(paths)


def _open(config: pytest.Config) -> Store:
    """The session's store, opened at its first use."""
    told = told_of(config)
    if told.store is None:
        from paritygate_reports.store.store import Store

        told.store = Store(told.url or home(config.rootpath) / STORE_FILE)
    return told.store


def _records(config: pytest.Config, run: Run) -> Sequence[Record]:
    """The run's records: those in the store (xdist's workers write there), and what it did not
    take.
    """
    told = told_of(config)
    try:
        found = {
            record.cell: record
            for record in _open(config).records(run.id, samples=bool(told.reports))
        }
    except Exception as error:
        # the store broke after it was written: what we saw ourselves remains
        told.trouble = told.trouble or str(error)
        told.unstored = set(told.seen)
        return list(told.seen.values())
    return list((found | {cell: told.seen[cell] for cell in told.unstored}).values())


def _store_line(config: pytest.Config, run: Run, records: Sequence[Record]) -> str:
    told = told_of(config)
    if told.trouble:
        return f"records: {len(told.unstored)} of {len(records)} in no store, only here: {told.trouble}"
    assert told.store is not None  # _records has opened it
    return f"records: {_short(config, told.store.name)}, run {run.id}"


def _short(config: pytest.Config, path: Path | str) -> str:
    """The path as seen from where pytest was started, where it is below; anything else as it is."""
    start = config.invocation_params.dir
    return str(Path(path).relative_to(start)) if Path(path).is_relative_to(start) else str(path)


def _say(config: pytest.Config, line: str) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    # a test is running: it would take the line
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is not None:
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            reporter.ensure_newline()
            reporter.write_line(line, red=True)
