"""``paritygate trend``: drawn in the terminal or into a file, its change points told below."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import matplotlib.font_manager  # noqa: F401 - on a new machine, its import starts fc-list
import pytest

from paritygate.__main__ import main
from paritygate_reports.store.store import Store
from tests.support import history


@pytest.fixture(name="call")
def _call(tmp_path, capsys):
    store = Store(tmp_path / "s.sqlite")
    store.write_runs(history.runs())

    def run(*arguments):
        return (main(["--store", store.name, "trend", *arguments]), *capsys.readouterr())

    return run


def test_a_trend_is_drawn_and_its_change_told(call):
    status, said, _ = call(history.COMPILED.cell)

    assert status == 0
    assert "\x1b" not in said  # no terminal, no colours
    assert f"{history.COMPILED.cell}  (40 runs)" in said
    assert "2026-09-01" in said
    assert f"{history.COMPILED.cell}: 19." in said
    assert "% slower (+" in said
    assert "since 2026-09-29 08:00, within 1 measured commit" in said
    assert f"--bench-against {history.commit(history.CHANGED - 1)[:12]}" in said


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_file_is_written_whole(call, tmp_path, suffix):
    path = tmp_path / f"trend{suffix}"
    status, said, _ = call("cnn-*", "-o", str(path))

    assert status == 0
    assert said.splitlines()[0] == str(path)
    if suffix == ".svg":
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    else:
        assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nothing-*"], "has no time of a cell 'nothing-*'"),
        (["cnn-*", "--branch", "nowhere"], "on branch nowhere"),
        (["cnn-*", "-o", "trend.gif"], "trend.gif must end in .png or .svg"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, arguments, why):
    status, said, complained = call(*arguments)

    assert (status, said) == (2, "")
    assert why in complained
