"""The pictures of the README are made by a script, from what the commands really print and write."""

from __future__ import annotations

import re

import pytest

from evidence import screenshots
from paritygate_reports.store.store import Store
from tests.support import chromium, history


@pytest.fixture(name="made")
def _made(tmp_path, monkeypatch):
    chromium.executable()
    Store(tmp_path / "s.sqlite").write_runs(history.runs())
    given = ["--store", str(tmp_path / "s.sqlite"), "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["screenshots", *given])
    screenshots.main()
    return tmp_path


def test_a_run_is_pictured_in_the_terminal_and_in_the_browser(made):
    svg = (made / "terminal.svg").read_text("utf-8")
    shown = re.sub(r"<[^>]*>", "", svg).replace("&#160;", " ")
    picture = (made / "report.png").read_bytes()

    assert "paritygate show latest" in shown
    assert "cpu-eager-fp32" in shown
    assert "run " in shown
    assert "url(http" not in svg, "a picture fetches nothing"
    assert "fill: #cc555a" in svg, "what failed is red, as in the terminal"
    assert picture.startswith(b"\x89PNG")
    width = int.from_bytes(picture[16:20])
    assert width == screenshots.WIDTH


def test_what_a_command_prints_to_a_terminal_comes_with_its_colours():
    program = "import sys; print(sys.stdout.isatty(), '\\x1b[31mred\\x1b[0m')"

    assert screenshots.printed([screenshots.sys.executable, "-c", program]) == (
        "True \x1b[31mred\x1b[0m\n"
    )
