"""The pytest half of bench: options, collection of cells, the ``cell`` fixture, exit status. Measures nothing.

The pytest process imports no torch: a session is safe from every crash of a native library, and collecting the
whole matrix costs what an empty collection costs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench import backends, exitstatus, hookspecs, paths, targets
from bench.budgets import BUDGETS
from bench.case import Cell, DeclarationError
from bench.exitstatus import Outcome
from bench.hookspecs import RUN
from bench.matrix import Matrix, new_run
from bench.progress import Progress, Times, counted, duration
from bench.record import Record, Run, Status

MATRIX = pytest.StashKey[Matrix]()
OUTCOME = pytest.StashKey[Outcome]()
CLOCK = pytest.StashKey["ReplayClock"]()
TALLY = pytest.StashKey["Tally"]()

XDIST_REASON = "pytest-xdist runs cells beside each other, which spoils every time; run without -n to measure"
# (option, ini twin, default, what it does)
OPTIONS = (
    ("--bench-targets", "bench_targets", "present", 'what to run, e.g. "cpu", "compile,eager", "cpu-*-fp32"; '
     "default: every device present, the default backends, fp32"),
    ("--bench-budget", "bench_budget", "quick", "how much time to spend: quick, normal or long"),
    ("--bench-lab", "bench_lab", "on", "on: measure in laboratory conditions; off: in the environment as it is"),
    ("--bench-seed", "bench_seed", "0", "seed of weights and inputs, a whole number"),
    ("--bench-memory", "bench_memory", "auto", "bytes a worker may allocate, e.g. 8G; auto: 90 %% of what is free"),
)  # fmt: skip


def _refuse_to_be_hidden() -> None:
    """Say which folder hides our package ``reports``; pytest would only say that it cannot import a plugin."""
    spec = importlib.util.find_spec("reports")
    places = [Path(place) for place in spec.submodule_search_locations or ()] if spec else []
    if places and not any((place / "plugin.py").exists() for place in places):
        raise pytest.UsageError(
            f"{places[0]} hides paritygate's package `reports`: rename that folder, or start pytest from a folder "
            "in which it does not lie at the top"
        )


_refuse_to_be_hidden()


class ReplayClock:
    """A clock for pytest-benchmark that shows times a worker has measured: it is advanced, it never runs."""

    __name__ = "worker_clock"

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time shown."""
        return self.now

    def replay(self, times: Iterator[float]) -> None:
        """Advance by the next of the times."""
        self.now += next(times)


class Tally:
    """A plugin of its own: gathers from reports what the exit status is made of, also from xdist's workers."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.foreign_failures = 0
        self.cell_functions = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note our outcome, or that something failed that is not ours."""
        found = getattr(report, "paritygate", None)
        if found is not None:
            self.outcomes.append(Outcome(**found | {"status": Status(found["status"])}))
        if report.failed and not (found is not None and found["judged"]):
            self.foreign_failures += 1


class FallbackBenchmark:
    """Stands in for pytest-benchmark's fixture under ``-p no:benchmark``: cells are measured, no table is made."""

    @pytest.fixture
    def benchmark(self) -> None:
        """Nothing to hand times to."""


# -- options and configuration


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and their ini twins."""
    group = parser.getgroup("paritygate", "paritygate: same answers, no slower")
    for option, ini, default, text in OPTIONS:
        group.addoption(option, metavar="VALUE", default=None, help=f"{text} (ini: {ini})")
        parser.addini(ini, text.replace("%%", "%"), default=default)
    group.addoption(
        "--bench-strict", action="store_true", default=None,
        help="unchecked cells end with status 15, and a known gap that has closed is a failure (ini: bench_strict)",
    )  # fmt: skip
    parser.addini("bench_strict", "see --bench-strict", type="bool", default=False)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Make the two hooks known."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Read the options; a bad value ends the session before anything is collected."""
    config.addinivalue_line("markers", "cells(cases): run this test for every cell of these bench.Case")
    if os.name != "posix":
        raise pytest.UsageError("paritygate needs Linux (all of it) or macOS (no gate); on Windows use WSL")
    tally = config.stash[TALLY] = Tally()
    config.pluginmanager.register(tally, "paritygate-tally")
    if not config.pluginmanager.hasplugin("benchmark"):
        config.pluginmanager.register(FallbackBenchmark(), "paritygate-benchmark")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Make the matrix; here and not at configure, because conftests of suites may add backends."""
    config = session.config
    budget = BUDGETS.get(_option(config, "bench_budget"))
    if budget is None:
        raise pytest.UsageError(
            f"--bench-budget: {_option(config, 'bench_budget')!r} must be one of {', '.join(BUDGETS)}"
        )
    lab, seed = _option(config, "bench_lab"), _option(config, "bench_seed")
    if lab not in ("on", "off"):
        raise pytest.UsageError(f"--bench-lab: {lab!r} must be on or off")
    if not re.fullmatch(r"\d{1,9}", seed):
        raise pytest.UsageError(f"--bench-seed: {seed!r} must be a whole number from 0 to 999999999")
    table = _backends(config)
    try:
        chosen = targets.select(_option(config, "bench_targets"), table)
    except targets.TargetError as error:
        raise pytest.UsageError(str(error)) from None

    def home() -> Path:
        return paths.home(config.rootpath)

    config.stash[MATRIX] = Matrix(
        home,
        budget=budget,
        chosen=chosen,
        backends=table,
        controlled=lab == "on",
        seed=int(seed),
        memory=_bytes(_option(config, "bench_memory")),
        progress=_progress(config, Times(paths.find(config.rootpath) / "times.json", budget.name, budget.launches)),
        emit=lambda record: config.hook.pytest_paritygate_record(config=config, run=config.stash[RUN], record=record),
    )
    shared = getattr(config, "workerinput", {}).get("paritygate_run")
    if shared:
        config.stash[RUN] = Run(**json.loads(shared))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Under xdist: hand the one run to every worker, so that their records belong together."""
    _ensure_run(node.config)
    node.workerinput["paritygate_run"] = json.dumps(asdict(node.config.stash[RUN]))


def pytest_report_header(config: pytest.Config) -> str:
    """One line: under what conditions this run measures, and which devices are not here."""
    absent = [f"{device}: {why}" for device in targets.DEVICE_DTYPES if (why := targets.absent(device))]
    conditions = f"budget {_option(config, 'bench_budget')}, laboratory {_option(config, 'bench_lab')}"
    return "paritygate: " + "; ".join([conditions, *absent])


# -- collection


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test for every cell of the marked cases."""
    marker = metafunc.definition.get_closest_marker("cells")
    if marker is None:
        return
    name = metafunc.definition.nodeid
    if "cell" not in metafunc.fixturenames:
        raise pytest.Collector.CollectError(f"{name}: a test marked with cells needs the fixture `cell`")
    if len(marker.args) != 1 or marker.kwargs or not isinstance(marker.args[0], list | tuple):
        raise pytest.Collector.CollectError(f"{name}: write @pytest.mark.cells(CASES) with one tuple of Case")
    metafunc.config.stash[TALLY].cell_functions += 1
    try:
        cells = metafunc.config.stash[MATRIX].cells(marker.args[0], timed="benchmark" in metafunc.fixturenames)
    except DeclarationError as error:
        raise pytest.Collector.CollectError(f"{name}: {error}") from None
    if cells:
        metafunc.parametrize("cell", cells, ids=[cell.id for cell in cells], indirect=True)
    else:
        metafunc.parametrize(
            "cell", [pytest.param(None, id="none", marks=pytest.mark.skip("no cell: no case wants these targets"))],
            indirect=True,
        )  # fmt: skip


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order group by group, parity before throughput within each; attach the replaying clocks."""
    first: dict[object, int] = {}

    def place(numbered: tuple[int, pytest.Item]) -> tuple[int, int, int]:
        number, item = numbered
        cell = _cell(item)
        group = item if cell is None else cell.group
        return first.setdefault(group, number), int(_is_throughput(item)), number

    items[:] = [item for _, item in sorted(enumerate(items), key=place)]
    for item in items:
        if _cell(item) is not None and _is_throughput(item):
            _attach_clock(config, item)


@pytest.hookimpl(tryfirst=True)  # before the terminal asks for the estimate
def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell the matrix what was selected."""
    config = session.config
    ours = [(item, cell) for item in session.items if (cell := _cell(item)) is not None]
    alone = hasattr(config, "workerinput")  # xdist: this worker runs some of these, and none is timed
    config.stash[MATRIX].plan(
        (cell for _, cell in ours), () if alone else (cell for item, cell in ours if _is_throughput(item))
    )
    if ours and not config.option.collectonly:
        _ensure_run(config)
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if ours and len(ours) == len(session.items) and reporter is not None and reporter.verbosity == 0:
        reporter.showfspath = False  # our own line per group says more than paths and dots


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    """How long the selected cells will take, before anything runs."""
    matrix = config.stash[MATRIX]
    groups = matrix.progress.waiting
    if not groups:
        return None
    seconds, known = matrix.progress.times.estimate(groups)
    among = counted(len(groups), "group")
    basis = "from the last run" if known == len(groups) else f"{len(groups) - known} of {among} guessed"
    cells = counted(len({cell.id for item in items if (cell := _cell(item)) is not None}), "cell")
    return f"paritygate: {cells} in {among}, about {duration(seconds)} ({basis})"


# -- running


class CellHandle:
    """What a test gets as ``cell``: the cell's id and record, and the two things to ask of it."""

    def __init__(self, cell: Cell, item: pytest.Item) -> None:
        self._cell, self._item = cell, item
        self._matrix = item.config.stash[MATRIX]

    @property
    def id(self) -> str:
        """``case-shape-device-backend-dtype``."""
        return self._cell.id

    @property
    def record(self) -> Record:
        """What is known of the cell so far."""
        return self._matrix.checked(self._cell)

    def assert_parity(self) -> None:
        """Fail unless the cell's answers agree with the reference."""
        record = self.record
        self._note(record)
        if record.status is Status.OK:
            if "gap_closed" in record.facts and _strict(self._item.config):
                self._fail(record, f"{self.id}: gap closed ({record.facts['gap_closed']}); remove it from known_gaps")
            return
        if record.facts.get("known_gap"):
            pytest.xfail(f"known gap: {record.facts['known_gap']} ({record.reason})")
        self._fail(record, _explain(record))

    def measure(self, benchmark: Any = None) -> None:
        """Time the cell, together with its group, and hand the times to pytest-benchmark's fixture."""
        record = self.record
        off = benchmark is not None and not getattr(benchmark, "enabled", True)
        if record.status is Status.OK and not off:
            record = self._matrix.measured(self._cell)
        self._note(record)
        if record.status is not Status.OK:
            self._fail(record, _explain(record))
        if benchmark is None:
            return
        clock = self._item.stash[CLOCK]
        times = record.samples or [0.0]
        benchmark.extra_info.update(_extra_info(record))
        benchmark.pedantic(clock.replay, args=(iter([*times, 0.0]),), rounds=len(times), iterations=1)

    def _note(self, record: Record, judged: bool = False) -> None:
        self._item.stash[OUTCOME] = Outcome(
            self.id, "throughput" if _is_throughput(self._item) else "parity", record.status, judged,
            record.measured, "gap_closed" in record.facts,
        )  # fmt: skip

    def _fail(self, record: Record, message: str) -> None:
        self._note(record, judged=True)
        pytest.fail(message, pytrace=False)

    def skip_if_due(self) -> None:
        """Skip here, in the fixture, so that ``benchmark`` is never set up for a cell that is not timed."""
        item = self._item
        throughput = _is_throughput(item)
        if throughput and hasattr(item.config, "workerinput"):
            record = Record(self.id, "", "", "", "", "", Status.SKIPPED)
            self._note(record)
            pytest.skip(XDIST_REASON)
        record = self.record
        if record.status in (Status.SKIPPED, Status.UNCHECKED):
            self._note(record)
            pytest.skip(record.reason)
        if throughput and record.status is not Status.OK and self._told_by_parity_item():
            self._note(record)
            pytest.skip(f"{record.status}: see its test_parity")

    def _told_by_parity_item(self) -> bool:
        """Whether the cell's test_parity has run and told that it is not ok; ``--benchmark-only`` skips it, say."""
        told = [other.stash.get(OUTCOME, None) for other in self._item.session.items
                if _cell(other) == self._cell and not _is_throughput(other)]  # fmt: skip
        return any(outcome is not None and outcome.status is not Status.OK for outcome in told)


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> CellHandle:
    """A cell of the marked cases: ``cell.assert_parity()``, ``cell.measure(benchmark)``."""
    handle = CellHandle(request.param, request.node)
    handle.skip_if_due()
    return handle


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Close a group after its last item."""
    here, there = _cell(item), None if nextitem is None else _cell(nextitem)
    if here is not None and (there is None or there.group != here.group):
        item.config.stash[MATRIX].close_group()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the outcome to the report: it then also travels from xdist's workers."""
    report = yield
    outcome = item.stash.get(OUTCOME, None)
    if outcome is not None and (report.when == "call" or (report.when == "setup" and not report.passed)):
        vars(report)["paritygate"] = asdict(outcome) | {"status": str(outcome.status)}  # plain: xdist sends it
    return report


# -- reporting


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
    """No dots for cells: their group has a line. Words stay for ``-v``."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or reporter.showfspath or reporter.verbosity != 0 or _xdist_controls(config):
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
    """End every process, hand on what was measured, settle the exit status.

    Here and no earlier: with a status of our own pytest would not print its summary.
    """
    config = session.config
    if MATRIX not in config.stash:
        return
    matrix = config.stash[MATRIX]
    if session.exitstatus == pytest.ExitCode.INTERRUPTED:
        matrix.kill()
    matrix.close()
    if RUN in config.stash:
        run = config.stash[RUN]
        run.environment["total_seconds"] = time.time() - run.environment.get("started_at", time.time())
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    tally = config.stash[TALLY]
    session.exitstatus = exitstatus.exit_status(
        session.exitstatus, tally.outcomes, tally.foreign_failures, strict=_strict(config), timing=_timing(config)
    )
    nothing = tally.cell_functions and not tally.outcomes and session.exitstatus == pytest.ExitCode.OK
    if nothing and not tally.foreign_failures:
        session.exitstatus = exitstatus.Exit.NOTHING


# -- helpers


def _option(config: pytest.Config, name: str) -> str:
    given = config.getoption(f"--{name.replace('_', '-')}")
    return str(config.getini(name) if given is None else given).strip()


def _strict(config: pytest.Config) -> bool:
    return bool(config.getoption("--bench-strict") or config.getini("bench_strict"))


def _timing(config: pytest.Config) -> bool:
    """Whether measuring is on, as far as pytest-benchmark's options say."""
    return not (config.getoption("benchmark_disable", False) or config.getoption("benchmark_skip", False))


def _bytes(text: str) -> int | None:
    if text == "auto":
        return None
    found = re.fullmatch(r"(\d+)\s*([KMGT]?)(i?B)?", text, re.IGNORECASE)
    if not found or int(found[1]) == 0:
        raise pytest.UsageError(f'--bench-memory: {text!r} must be auto or a size such as "8G" or "500M"')
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[found[2].upper()]


def _backends(config: pytest.Config) -> dict[str, backends.Backend]:
    table = dict(backends.BACKENDS)
    for added in config.hook.pytest_paritygate_backends(config=config):
        for name, module in added.items():
            if name in table:
                raise pytest.UsageError(f"pytest_paritygate_backends: there is a backend {name!r} already")
            table[name] = backends.Backend(name, module)
    return table


def _progress(config: pytest.Config, times: Times) -> Progress:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return Progress(str, None, 100, times)
    writer = config.get_terminal_writer()

    capture = config.pluginmanager.get_plugin("capturemanager")

    def uncaptured() -> AbstractContextManager[None]:
        """Inside a test's hooks pytest captures standard output, the terminal's own included."""
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


def _ensure_run(config: pytest.Config) -> None:
    if RUN not in config.stash:
        matrix = config.stash[MATRIX]
        config.stash[RUN] = new_run(config.rootpath, matrix.budget, matrix.controlled, matrix.seed)


def _cell(item: pytest.Item) -> Cell | None:
    found = getattr(item, "callspec", None)
    value = found.params.get("cell") if found is not None else None
    return value if isinstance(value, Cell) else None


def _is_throughput(item: pytest.Item) -> bool:
    return "benchmark" in getattr(item, "fixturenames", ())


def _attach_clock(config: pytest.Config, item: pytest.Item) -> None:
    """Give the item a replaying clock, and pytest-benchmark a marker that names it.

    Only the closest ``benchmark`` marker counts there, so a user's own is copied into ours.
    """
    clock = item.stash[CLOCK] = ReplayClock()
    if not config.pluginmanager.hasplugin("benchmark"):
        return
    cell = _cell(item)
    own = item.get_closest_marker("benchmark")
    given = {"group": str(cell.group) if cell else None} | (dict(own.kwargs) if own else {})
    item.add_marker(pytest.mark.benchmark(**given | {"timer": clock}), append=False)
    # A cell that fails before it is measured has said why; that its fixture was not used says nothing more.
    item.add_marker(pytest.mark.filterwarnings("ignore:Benchmark fixture was not used at all"))


def _explain(record: Record) -> str:
    text = f"{record.cell}: {record.status}: {record.reason}"
    trace = record.facts.get("trace", "")
    return f"{text}\n{trace}" if trace else text


def _extra_info(record: Record) -> dict[str, Any]:
    names = ("throughput", "unit", "speedup", "error", "error_share", "peak_bytes", "prepare_seconds", "accuracy")
    plain = {name: getattr(record, name) for name in names if getattr(record, name) is not None}
    facts = {name: value for name, value in record.facts.items() if isinstance(value, str | int | float | bool)}
    return {"cell": record.cell, "status": str(record.status)} | plain | {"facts": facts}


def _xdist_controls(config: pytest.Config) -> bool:
    return config.pluginmanager.hasplugin("dsession")
