"""The cells that shards must hold together are those that pytest collects."""

from __future__ import annotations

import pytest

from paritygate_reports.files.jsontext import FileError
from paritygate_reports.files.shards import expected


def test_the_expected_cells_are_those_that_pytest_collects(project):
    collected = project.run("--collect-only", "-q")
    path = project.write("cells.txt", collected.stdout.str())
    assert expected(path) == ["one-b8-cpu-eager-fp32", "two-b4-cpu-eager-fp32"]
    with pytest.raises(
        FileError, match=r"conftest\.py names no cell; write it by pytest bench --collect-only -q"
    ):
        expected(project.path / "conftest.py")
    with pytest.raises(FileError, match=r"nothing\.txt cannot be read: No such file"):
        expected(project.path / "nothing.txt")
