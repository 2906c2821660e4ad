"""The plugin that pytest loads in every session: it waits for the first sign that paritygate is
wanted.

A sign is one of the options or ini values, or a test marked with ``cells``. Until then nothing is
printed, sorted or imported that a session without cells would have to pay for;
``paritygate.plugin.session`` does the work.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from paritygate.plugin import hookspecs, options

SESSION = "paritygate-session"  # under this name the working plugin is registered
DECLARED = "paritygate.core.case"  # what a suite has imported when it declares cases
MODULES = pytest.StashKey[list[Path]]()  # the test files that were collected before the first sign


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and their ini twins."""
    options.add(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Make the two hooks known."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and begin where an option asks for it."""
    config.addinivalue_line(
        "markers", "cells(cases): run this test for every cell of these paritygate.Case"
    )
    config.stash[MODULES] = []
    if options.given(config):
        begin(config)


def begin(config: pytest.Config) -> None:
    """Register what does the work; in the middle of a session, too."""
    if config.pluginmanager.has_plugin(SESSION):
        return
    from paritygate.plugin import session

    config.pluginmanager.register(session, SESSION)
    if options.gates(config):
        from paritygate.plugin import gate

        config.pluginmanager.register(gate, "paritygate-gate")
    under_way = config.pluginmanager.get_plugin("session")
    if under_way is not None:
        session.start(under_way)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> None:
    """Note the test files: pytest puts their folders on the path, and suites are told apart by
    them.
    """
    parent.config.stash[MODULES].append(module_path)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, obj: object) -> None:
    """Begin at the first test that is marked with ``cells``, itself or by its class or module; or
    that takes ``cell`` where cases are declared, which is a mark forgotten or misspelt.
    """
    if collector.config.pluginmanager.has_plugin(SESSION):
        return
    own = getattr(obj, "pytestmark", ())
    marks = [*(own if isinstance(own, list | tuple) else [own]), *collector.iter_markers()]
    if any(getattr(mark, "name", "") == "cells" for mark in marks) or _asks_for_cell(obj):
        begin(collector.config)


def _asks_for_cell(obj: object) -> bool:
    """Whether a test function takes ``cell``, in a session that has imported ``Case``."""
    code = getattr(obj, "__code__", None)
    if code is None or DECLARED not in sys.modules:
        return False
    return "cell" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def misnamed(item: pytest.Item) -> str:
    """Return the name of another mark than ``cells`` that is given cases; "" where there is none."""
    case = getattr(sys.modules.get(DECLARED), "Case", ())
    for mark in item.iter_markers():
        given = [*mark.args, *mark.kwargs.values()]
        cases = [
            one for part in given for one in (part if isinstance(part, list | tuple) else [part])
        ]
        if mark.name != "parametrize" and any(isinstance(one, case) for one in cases):
            return mark.name
    return ""


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Under xdist: every worker's records belong to one run, which this process names."""
    from paritygate.plugin import distributed

    distributed.name_run(node)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Under xdist: begin here as well, once a worker has a cell."""
    if hasattr(report, "paritygate") and hasattr(report, "node"):
        begin(report.node.config)
