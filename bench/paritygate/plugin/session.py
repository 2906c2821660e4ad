"""The pytest half of a session that has cells: collection, the ``cell`` fixture, exit status. It
measures nothing.

The pytest process imports no torch. So no crash of a native library can end a session, and
collecting the whole matrix costs as much as an empty collection.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from paritygate.core import exitstatus
from paritygate.core.case import cases_of
from paritygate.core.declaration import DeclarationError
from paritygate.core.devices import DEVICE_KINDS
from paritygate.core.reasons import counted
from paritygate.core.record import Record
from paritygate.host import paths
from paritygate.host.lookup import Suites
from paritygate.plugin import MODULES, misnamed, options, settings
from paritygate.plugin.benchmark_bridge import FallbackBenchmark, attach_clock
from paritygate.plugin.cell_fixture import CellHandle
from paritygate.plugin.distributed import IDENTITY, identity
from paritygate.plugin.hookspecs import RUN, WHY
from paritygate.plugin.items import (
    KINDS,
    MATRIX,
    OUTCOME,
    REGRESSION,
    VERDICTS,
    cell_of_item,
    is_regression,
    is_throughput,
    kind,
)
from paritygate.plugin.outcomes import TALLY, Tally
from paritygate.session import targets
from paritygate.session.matrix import Matrix
from paritygate.session.progress import Progress, Times, duration
from paritygate.session.run import MatrixRun, Plan
from paritygate.session.run_facts import new_run

CHOICES = ("bench-targets", "bench-budget")  # the options that decide which cells a case has
HEADED = pytest.StashKey[bool]()  # the header has shown the conditions of this run


# -- configuration


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a system on which nothing works, and collect outcomes."""
    if os.name != "posix":
        raise pytest.UsageError(
            "paritygate needs Linux (all of it) or macOS (no gate); on Windows use WSL"
        )
    Tally.of(config)
    config.pluginmanager.register(LastLine(), "paritygate-last-line")
    if not config.pluginmanager.hasplugin("benchmark"):
        config.pluginmanager.register(FallbackBenchmark(), "paritygate-benchmark")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin with the session. Not at configure, because conftests of suites may add backends."""
    start(session)


def start(session: pytest.Session) -> None:
    """Read the options and make the run. A bad value ends the session before anything is measured."""
    config = session.config
    asked = settings.read(config)

    def home() -> Path:
        return paths.home(config.rootpath)

    def emit(record: Record) -> None:
        run, calibration = config.stash[RUN], config.stash[MATRIX].calibration
        learnt = {"gate": _gate_summary(config), "calibration": calibration}
        run.environment.update({name: facts for name, facts in learnt.items() if facts})
        config.hook.pytest_paritygate_record(config=config, run=run, record=record)

    times = paths.find(config.rootpath) / "times.json"
    config.stash[MATRIX] = MatrixRun(
        Matrix(asked, Suites(_configured_path(config))),
        home,
        _progress(config, Times(times, asked.budget.name, asked.budget.launches)),
        emit,
    )
    if IDENTITY in config.stash:  # xdist's workers are running already, and one has found cells
        _ensure_run(config)
    for path in config.stash[MODULES]:  # those that were collected before the first sign of cells
        _note_suite(config, path)


@pytest.hookimpl(optionalhook=True, trylast=True)
def pytest_configure_node(node: Any) -> None:
    """Under xdist: make the run also in the controlling process, which collects nothing itself."""
    _ensure_run(node.config)


def pytest_report_header(config: pytest.Config) -> str:
    """Return the conditions and devices of this run, and where results go if not into the project."""
    config.stash[HEADED] = True
    return _header(config)


def _header(config: pytest.Config) -> str:
    devices = [f"{device}: {why}" for device in DEVICE_KINDS if (why := targets.absent(device))]
    conditions = f"budget {options.value(config, 'bench_budget')}, laboratory {options.value(config, 'bench_lab')}"
    if found := targets.gpu():
        devices.append(
            f"cuda: {found['gpu']}"
            + (f", the first of {found['gpus']}" if found["gpus"] > 1 else "")
        )
    place = paths.find(config.rootpath)
    elsewhere = (
        []
        if place.parent == config.rootpath
        else [f"{paths.NAME} cannot be written: results go to {place}"]
    )
    return "paritygate: " + "; ".join([conditions, *devices, *elsewhere])


# -- collection


@pytest.hookimpl(tryfirst=True)  # the first that makes a module ends the calls
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> None:
    """Note the folders that pytest puts on the path: that of every test file, and those of
    conftests.
    """
    _note_suite(parent.config, module_path)


def _note_suite(config: pytest.Config, path: Path) -> None:
    suites = config.stash[MATRIX].matrix.suites
    suites.add(path)
    for plugin in config.pluginmanager.get_plugins():
        file = Path(getattr(plugin, "__file__", None) or "")
        if file.name == "conftest.py":
            suites.add(file)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test for every cell of the marked cases."""
    marker = metafunc.definition.get_closest_marker("cells")
    name = metafunc.definition.nodeid
    if marker is None:
        if "cell" in metafunc.fixturenames and (wrong := misnamed(metafunc.definition)):
            raise pytest.Collector.CollectError(
                f"{name}: @pytest.mark.{wrong} is given Cases and is no mark of paritygate; write "
                "@pytest.mark.cells(CASES)"
            )
        return
    if "cell" not in metafunc.fixturenames:
        raise pytest.Collector.CollectError(
            f"{name}: a test marked with cells needs the fixture `cell`"
        )
    given = (*marker.args, *marker.kwargs.values())
    if len(given) != 1:
        found = ", ".join(type(what).__name__ for what in given) or "nothing"
        raise pytest.Collector.CollectError(
            f"{name}: write @pytest.mark.cells(CASES) with one tuple of Case, it was given {found}"
        )
    metafunc.config.stash[TALLY].cell_functions += 1
    try:
        timed = "benchmark" in metafunc.fixturenames or hasattr(metafunc.function, REGRESSION)
        cells = metafunc.config.stash[MATRIX].matrix.cells(
            cases_of(given[0]), timed, metafunc.definition.path.parent
        )
    except DeclarationError as error:
        raise pytest.Collector.CollectError(f"{name}: {error}") from None
    if cells:
        metafunc.parametrize("cell", cells, ids=[cell.id for cell in cells], indirect=True)
    else:  # pytest would skip it as well, but with "got empty parameter set", which does not help
        asked = ", ".join(
            f"--{what}={options.value(metafunc.config, what.replace('-', '_'))}" for what in CHOICES
        )
        why = f"no cell: no case wants these targets, or has a shape within the budget ({asked}); see their targets="
        metafunc.parametrize(
            "cell", [pytest.param(None, id="none", marks=pytest.mark.skip(why))], indirect=True
        )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order group by group, parity before throughput within each. Attach the replaying clocks."""
    first: dict[object, int] = {}

    def place(numbered: tuple[int, pytest.Item]) -> tuple[int, int, int]:
        number, item = numbered
        cell = cell_of_item(item)
        group = item if cell is None else cell.group
        if is_regression(item):
            # after everything else: the gate runs once for all of them
            return len(items), 0, number
        return first.setdefault(group, number), int(is_throughput(item)), number

    items[:] = [item for _, item in sorted(enumerate(items), key=place)]
    for item in items:
        if cell_of_item(item) is not None and is_throughput(item):
            attach_clock(config, item)


@pytest.hookimpl(tryfirst=True)  # before the terminal asks for the estimate
def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin the run with the selected items."""
    config = session.config
    ours = [(item, cell) for item in session.items if (cell := cell_of_item(item)) is not None]
    # xdist: this worker runs some of these, and none is timed
    alone = hasattr(config, "workerinput")
    kinds = {what: [cell for item, cell in ours if kind(item) == what] for what in KINDS}
    gated = () if alone else kinds["regression"]
    timed = () if alone else kinds["throughput"]
    config.stash[MATRIX].begin(Plan.of(kinds["parity"] + kinds["throughput"], timed, gated))
    if ours and not config.option.collectonly:
        if not alone:  # xdist's workers cannot refuse a session; each cell fails there by itself
            _require_modules(config)
        _ensure_run(config)
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    # a case without a cell here has a skipped test without a cell
    all_ours = bool(ours) and all(item.get_closest_marker("cells") for item in session.items)
    if all_ours and reporter is not None and reporter.verbosity == 0:
        reporter.showfspath = False  # our line for each group replaces paths and dots


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Return how long the selected cells will take, before anything runs. Add the conditions,
    unless the header has them.
    """
    progress = config.stash[MATRIX].progress
    groups = progress.waiting
    if not groups:
        return []
    header = [] if HEADED in config.stash else [_header(config)]
    seconds, known = progress.times.estimate(groups)
    among = counted(len(groups), "group")
    basis = (
        "from the last run" if known == len(groups) else f"{len(groups) - known} of {among} guessed"
    )
    cells = counted(
        len({cell.id for item in items if (cell := cell_of_item(item)) is not None}), "cell"
    )
    return [*header, f"paritygate: {cells} in {among}, about {duration(seconds)} ({basis})"]


# -- running


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> CellHandle:
    """Return a cell of the marked cases: ``cell.assert_parity()``, ``cell.measure(benchmark)``."""
    if not hasattr(request, "param"):
        marks = (
            ", ".join(f"@pytest.mark.{mark.name}" for mark in request.node.iter_markers())
            or "no mark"
        )
        pytest.fail(
            f"{request.node.nodeid}: the fixture `cell` needs @pytest.mark.cells(CASES) on the test, with a tuple of "
            f"Case; it has {marks}",
            pytrace=False,
        )
    handle = CellHandle(request.param, request.node)
    handle.skip_if_due()
    return handle


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Close a group after its last item."""
    here, there = cell_of_item(item), None if nextitem is None else cell_of_item(nextitem)
    if here is not None and (there is None or there.group != here.group):
        item.config.stash[MATRIX].close_group()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the outcome to the report, so that it also comes back from xdist's workers."""
    report = yield
    outcome = item.stash.get(OUTCOME, None)
    if outcome is not None and (
        report.when == "call" or (report.when == "setup" and not report.passed)
    ):
        # plain: xdist sends it
        vars(report)["paritygate"] = asdict(outcome) | {"status": str(outcome.status)}
    return report


# -- reporting


def pytest_report_teststatus(
    report: pytest.TestReport, config: pytest.Config
) -> tuple[str, str, str] | None:
    """Print no dots for cells: their group has a line. The words stay for ``-v``."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if (
        reporter is None
        or reporter.showfspath
        or reporter.verbosity != 0
        or _xdist_controls(config)
    ):
        return None
    if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
        return "passed", "", "PASSED"
    if report.skipped and hasattr(report, "wasxfail"):
        return "xfailed", "", "XFAIL"
    if report.skipped:
        return "skipped", "", "SKIPPED"
    if report.failed and report.when == "call":
        return "failed", "", "FAILED"
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End every process, emit the remaining records, set the exit status.

    Not earlier: with a status of our own pytest would not print its summary.
    """
    config = session.config
    if MATRIX not in config.stash:
        return
    verdicts = config.stash.get(VERDICTS, None)
    interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
    if interrupted and verdicts is not None:
        verdicts.gate.kill()
    try:
        config.stash[MATRIX].close(at_once=interrupted)
    finally:
        if verdicts is not None:
            verdicts.gate.close()
    if RUN in config.stash:
        run = config.stash[RUN]
        run.environment["total_seconds"] = time.time() - run.environment.get(
            "started_at", time.time()
        )
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    tally, summary = config.stash[TALLY], _gate_summary(config)
    if RUN in config.stash and summary:  # no record may have been written since
        config.stash[RUN].environment["gate"] = summary
    settled = exitstatus.settle(
        session.exitstatus,
        tally.outcomes,
        tally.foreign_failures,
        strict=options.strict(config),
        timing=options.timing(config),
        invalid=bool(summary.get("invalid")),
        missing=len(summary.get("missing", ())),
        cells_asked=tally.cell_functions > 0,
    )
    session.exitstatus, config.stash[WHY] = settled.status, settled.reason


class LastLine:
    """Ends the session with one line that says why its status is one of ours."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # around the terminal's, which prints the summary
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Print the line after everything else."""
        yield
        config = session.config
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        why, status = config.stash.get(WHY, ""), int(session.exitstatus)
        if reporter is not None and why and status >= exitstatus.Exit.PARITY:
            reporter.write_line(f"paritygate: exit status {status}: {why}", red=True)


# -- helpers


def _progress(config: pytest.Config, times: Times) -> Progress:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return Progress(str, None, 100, times)
    writer = config.get_terminal_writer()

    capture = config.pluginmanager.get_plugin("capturemanager")

    def uncaptured() -> AbstractContextManager[None]:
        """Return a context without pytest's capture. Inside a test's hooks pytest captures standard
        output, also that of the terminal.
        """
        return nullcontext() if capture is None else capture.global_and_fixture_disabled()

    def line(text: str) -> None:
        with uncaptured():
            reporter.ensure_newline()
            reporter.write_line(text)

    def live(text: str) -> None:
        with uncaptured():
            writer.write(text, flush=True)

    quiet = reporter.verbosity < 0
    shown = writer.hasmarkup and os.isatty(1) and not quiet
    width = min(100, writer.fullwidth)
    return Progress(str if quiet else line, live if shown else None, width, times)


def _gate_summary(config: pytest.Config) -> dict[str, Any]:
    """Return the facts of the gate's run as a whole, or nothing before it has run."""
    verdicts = config.stash.get(VERDICTS, None)
    return {} if verdicts is None else verdicts.summary


def _require_modules(config: pytest.Config) -> None:
    try:
        run = config.stash[MATRIX]
        run.matrix.require_modules(run.plan.cells)
    except DeclarationError as error:
        raise pytest.UsageError(*str(error).splitlines()) from None


def _ensure_run(config: pytest.Config) -> None:
    if RUN not in config.stash:
        options = config.stash[MATRIX].matrix.options
        config.stash[RUN] = new_run(config.rootpath, options, **identity(config))


def _configured_path(config: pytest.Config) -> list[str | Path]:
    """Return the entries of the path that the user has set, for all suites."""
    found: list[str | Path] = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    with suppress(ValueError):  # -p no:python_path
        found += config.getini("pythonpath")
    return found


def _xdist_controls(config: pytest.Config) -> bool:
    return config.pluginmanager.hasplugin("dsession")
