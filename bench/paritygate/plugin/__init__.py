"""The plugin that pytest loads in every session. It stays idle until paritygate is used.

The first sign of use is one of the options or ini values, or a test marked with ``cells``. Until
then nothing is printed, sorted or imported that would cost a session without cells.
``paritygate.plugin.session`` does the work.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from paritygate.plugin import hookspecs, options

SESSION = "paritygate-session"  # under this name the working plugin is registered
DECLARED = "paritygate.core.case"  # the module that a suite imports to declare cases
MODULES = pytest.StashKey[list[Path]]()  # the test files that were collected before the first sign


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and their ini twins."""
    options.add(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the two hooks."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker. Begin if an option asks for it."""
    config.addinivalue_line(
        "markers", "cells(cases): run this test for every cell of these paritygate.Case"
    )
    config.stash[MODULES] = []
    if options.given(config):
        begin(config)


def begin(config: pytest.Config) -> None:
    """Register the plugins that do the work, also in the middle of a session."""
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
    """Note the test files. pytest puts their folders on the path, and the files tell the suites
    apart.
    """
    parent.config.stash[MODULES].append(module_path)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> None:
    """Begin at the first test that is marked with ``cells``, directly or by its class or module.

    Also begin at a test that takes ``cell`` where cases are declared: its mark is forgotten or
    misspelt.
    """
    if collector.config.pluginmanager.has_plugin(SESSION):
        return
    # other objects of a file may be proxies, which raise, or mock.call, which has every attribute
    if not (collector.istestfunction(obj, name) or collector.istestclass(obj, name)):
        return
    own = getattr(obj, "pytestmark", ())
    marks = [*(own if isinstance(own, list | tuple) else [own]), *collector.iter_markers()]
    if any(getattr(mark, "name", "") == "cells" for mark in marks) or _asks_for_cell(obj):
        begin(collector.config)


def _asks_for_cell(obj: object) -> bool:
    """Return whether a test function takes ``cell``, in a session that has imported ``Case``."""
    code = getattr(obj, "__code__", None)
    if code is None or DECLARED not in sys.modules:
        return False
    return "cell" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def misnamed(item: pytest.Item) -> str:
    """Return the name of a mark other than ``cells`` that gets cases, or ""."""
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
    """Under xdist: name one run in this process, to which every worker's records belong."""
    from paritygate.plugin import distributed

    distributed.name_run(node)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Under xdist: begin in this process too, when a worker has a cell."""
    if hasattr(report, "paritygate") and hasattr(report, "node"):
        begin(report.node.config)
