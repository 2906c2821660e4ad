"""The comment for a pull request: golden, worst first, and foreign text stays text."""

from __future__ import annotations

import os
import re
from dataclasses import replace

import pytest

from paritygate_reports.files.jsontext import read_run
from paritygate_reports.renderers.markdown import escape, render
from tests.support.paths import GOLDEN

RUN, RECORDS = read_run(GOLDEN / "run.json")


def test_the_comment_is_the_golden_one():
    """``GOLDEN=write pytest tests/unit/reports/test_markdown.py`` writes it anew; look at the difference."""
    golden = GOLDEN / "markdown.md"
    found = render(RUN, RECORDS, ["records: .paritygate/store.sqlite"])
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(found, "utf-8")
    assert found == golden.read_text("utf-8")


def test_failures_stand_before_everything_else():
    out = render(RUN, RECORDS)
    assert (
        out.index("SIGSEGV")
        < out.index("<details>", out.index("SIGSEGV"))
        < out.index("bert_mini b8_s64")
    )


@pytest.mark.parametrize(
    ("foreign", "escaped"),
    [
        ("a|b", "a&#124;b"),
        ("<b>", "&lt;b&gt;"),
        ("`x`", "&#96;x&#96;"),
        ("a\nb", "a b"),
        ("*x* _y_", "&#42;x&#42; &#95;y&#95;"),
        ("bert_mini", "bert_mini"),
        ("[x](y)", "&#91;x&#93;(y)"),
        ("&lt;", "&amp;lt;"),
        ("\x1b", "&#92;x1b"),
    ],
)
def test_foreign_text_is_escaped(foreign: str, escaped: str):
    assert escape(foreign) == escaped


def test_nobody_is_called_and_no_issue_linked():
    assert not re.search(r"@\w|#\d", escape("@octocat #12 a@b"))


def test_hostile_names_break_neither_the_table_nor_the_page():
    name = "x|<script>`\n\n# head\n</details>"
    hostile = [
        replace(record, case=name, cell=name, device=name, reason=name, unit=name, warnings=[name])
        for record in RECORDS
    ]
    out = render(replace(RUN, branch=name), hostile, [name])
    assert "<script>" not in out
    assert out.count("<details>") == out.count("</details>") == out.count("<summary>")
    assert {line.count("|") for line in out.splitlines() if line.startswith("|")} == {10}
    assert not re.search(r"^# head", out, re.MULTILINE)
