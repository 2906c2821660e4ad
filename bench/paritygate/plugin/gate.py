"""The pytest half of the gate: its items, and the checkout of the other revision. It measures
nothing.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import pytest

from paritygate.core import work
from paritygate.core.record import End, Status
from paritygate.host import paths
from paritygate.plugin import options, settings
from paritygate.plugin.cell_fixture import CellHandle
from paritygate.plugin.items import MATRIX, REGRESSION, VERDICTS, is_throughput
from paritygate.session import records
from paritygate.session.run import MatrixRun

Made = pytest.Item | pytest.Collector | list[pytest.Item | pytest.Collector] | None

# Options that exclude items of this checkout by name, by path or by failures here. The checkout of
# base cannot repeat them.
NARROWING = ("lf", "stepwise", "deselect", "ignore", "ignore_glob")


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> Generator[None, Made, Made]:
    """With ``--bench-against``, replace each test that times cells by the harness's own
    test_regression.

    It is made here, beside the other items of the file, so that node ids, ``-k`` and ``--lf`` find
    it.
    """
    made = yield
    if not options.gates(collector.config) or not isinstance(made, list):
        return made
    timed = [item for item in made if isinstance(item, pytest.Function) and is_throughput(item)]
    if not timed or timed[0].get_closest_marker("cells") is None:
        return made
    own = name.replace("throughput", "regression") if "throughput" in name else f"{name}_regression"
    test = _regression_test(own, getattr(obj, "pytestmark", []))
    setattr(collector.obj, own, test)  # an item looks its function up there, by name
    regressions: Made = collector.ihook.pytest_pycollect_makeitem(
        collector=collector, name=own, obj=test
    )
    return regressions


def _regression_test(name: str, marks: Sequence[pytest.Mark]) -> Callable[[CellHandle], None]:
    """Return the harness's own test function of that name, with the marks of the test that it
    replaces.
    """

    def test_regression(cell: CellHandle) -> None:
        cell.assert_not_slower()

    test_regression.__name__ = name
    vars(test_regression).update({REGRESSION: True, "pytestmark": list(marks)})
    return test_regression


def pytest_collection_finish(session: pytest.Session) -> None:
    """Check out the other revision and build the sides, before anything is measured."""
    config = session.config
    gated = config.stash[MATRIX].plan.gated
    if config.option.collectonly and (file := os.environ.get(work.FILE)):
        work.write(Path(file), gated.values())
    if not gated or config.option.collectonly:
        return
    asked = settings.against(config)
    for cell in asked.planted:
        if cell not in gated:
            raise pytest.UsageError(
                f"--bench-plant: {cell!r} is no cell that this run compares; see --collect-only"
            )
    from paritygate.gate.revisions import RevisionError
    from paritygate.gate.session import Gate, Verdicts

    def stop(*_: object) -> None:
        raise KeyboardInterrupt  # SIGTERM ends a run like Ctrl-C: no process and no checkout remains

    before = signal.signal(signal.SIGTERM, stop)

    def restore() -> None:
        signal.signal(signal.SIGTERM, before)

    config.add_cleanup(restore)
    run, home = config.stash[MATRIX], paths.home(config.rootpath)
    try:
        gate = Gate(config.rootpath, asked, home / "worktrees")
        config.stash[VERDICTS] = Verdicts(gate, run, _same_selection(config))
        gate.prepare(run, home)
    except (RevisionError, OSError) as error:
        raise pytest.UsageError(str(error)) from None
    run.begin(run.plan.without(gate.identical))
    if (failed := gate.unbuilt.get("head")) is not None:
        _end_all(run, End(Status.FAILED, failed.reason, failed.details))
    else:
        gate.enter(run)


def _end_all(run: MatrixRun, end: End) -> None:
    """End every cell that could run here in this way, before any is opened."""
    for cell in run.plan.cells:
        reason = run.matrix.unavailable(cell)
        run.emit(records.skipped(cell, reason) if reason else records.ended(cell, end))


def _same_selection(config: pytest.Config) -> list[str] | None:
    """Return arguments with which base's checkout collects the same selection as here, or None if
    there are none.
    """
    if any(config.getoption(name, None) for name in NARROWING):
        return None
    found = []
    for argument in config.args:
        path = (config.invocation_params.dir / argument).resolve()
        if "::" in argument or not path.is_relative_to(config.rootpath):
            return None
        found.append(str(path.relative_to(config.rootpath)))
    for option, given in (("-k", config.option.keyword), ("-m", config.option.markexpr)):
        found += [option, given] if given else []
    for option in ("bench_targets", "bench_budget"):
        found += [f"--{option.replace('_', '-')}", options.value(config, option)]
    return found
