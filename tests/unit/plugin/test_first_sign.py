"""The first sign of cells in a test file: a mark, or a test that takes ``cell``. No other object of
the file is touched.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any
from unittest.mock import call

import pytest

from paritygate import plugin


class Proxy:
    """Raises for every attribute, like flask.request without a request."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no request")


def takes_cell(cell):
    """Take ``cell`` without a mark."""


@pytest.mark.cells(())
def marked():
    """Bear the mark."""


@pytest.fixture
def begins(monkeypatch, request):
    """Whether a name of this file makes the plugin begin."""
    module = request.node.getparent(pytest.Module)
    import_module(plugin.DECLARED)  # a suite has declared cases
    begun = []
    monkeypatch.setattr(module.config.pluginmanager, "has_plugin", lambda name: False)
    monkeypatch.setattr(plugin, "begin", begun.append)

    def ask(name: str, given: object) -> bool:
        plugin.pytest_pycollect_makeitem(module, name, given)
        return bool(begun)

    return ask


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("request", Proxy()),
        ("call", call),
        ("helper", takes_cell),
        ("test_other", lambda cells: None),
    ],
    ids=["proxy", "call", "helper", "other"],
)
def test_other_objects_of_a_file_are_no_sign(begins, name, given):
    assert not begins(name, given)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("test_parity", takes_cell),
        ("test_parity", marked),
        ("TestParity", pytest.mark.cells(())(type("TestParity", (), {}))),
    ],
)
def test_a_test_of_cells_is_a_sign(begins, name, given):
    assert begins(name, given)
