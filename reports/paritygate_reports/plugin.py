"""The pytest plugin of the reports: its options, and when it reports. ``session`` does the work.

pytest loads this in every session of the environment. Without a cell nothing is printed, stored or
imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from paritygate.plugin.hookspecs import RUN
from paritygate_reports.places import STORE_FILE, STORE_VARIABLE

if TYPE_CHECKING:
    from paritygate.core.record import Record, Run

SUFFIXES = (".csv", ".parquet", ".json", ".md", ".html")  # of the report files that can be written


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the three options and their ini settings."""
    group = parser.getgroup("paritygate")
    group.addoption(
        "--bench-store",
        metavar="URL_OR_FILE",
        help="where records are kept: a SQLite file or a database URL "
        f"(default: ${STORE_VARIABLE}, ini bench_store, then .paritygate/" + STORE_FILE + ")",
    )
    group.addoption(
        "--bench-report",
        metavar="FILE",
        action="append",
        default=[],
        help=f"also write this run to FILE, by suffix: {' '.join(SUFFIXES)}; one file an option",
    )
    group.addoption(
        "--bench-baseline",
        metavar="BRANCH_OR_RUN",
        help="also compare this run with earlier stored runs of that branch, or with one run; this is advice, and "
        "fails the session only with --bench-strict",
    )
    parser.addini(
        "bench_baseline",
        "a branch or run to compare each run with; as --bench-baseline",
        default="",
    )
    parser.addini(
        "bench_store", "a SQLite file (relative to the rootdir) or a database URL for the records"
    )
    parser.addini(
        "bench_report", "files to write each run to, one a line", type="linelist", default=[]
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse option values that cannot work, before anything is measured."""
    given = (
        config.getoption(f"--{name}") or config.getini(name.replace("-", "_"))
        for name in ("bench-store", "bench-report")
    )
    if any(given):
        from paritygate_reports import session

        session.report_of(config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Open the store before the first cell."""
    if RUN in session.config.stash and not session.config.option.collectonly:
        from paritygate_reports.session import open_store

        open_store(session.config)


@pytest.hookimpl(optionalhook=True)  # a session without paritygate.plugin has no such hook
def pytest_paritygate_record(config: pytest.Config, run: Run, record: Record) -> None:
    """Store the record at once."""
    from paritygate_reports.session import keep

    keep(config, run, record)


@pytest.hookimpl(trylast=True)  # after paritygate.plugin has settled the exit status
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports."""
    if _tells(session.config, session.exitstatus):
        from paritygate_reports.session import finish

        finish(session)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Print the table."""
    if _tells(config, exitstatus):
        from paritygate_reports.session import print_table

        print_table(terminalreporter, config)


def _tells(config: pytest.Config, exitstatus: int) -> bool:
    """Return whether this process reports: there was a run, it was not refused, and this is no
    worker of xdist.
    """
    return (
        RUN in config.stash
        and exitstatus
        != pytest.ExitCode.USAGE_ERROR  # a refused store: nothing was measured, and earlier reports stay
        and not config.option.collectonly
        and not hasattr(config, "workerinput")
    )
