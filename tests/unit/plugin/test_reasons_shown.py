"""Where a reason of several lines is shown: its first line in tables, all of it where there is
room.
"""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from paritygate.core.record import Record, Run, Status
from paritygate.plugin import cell_fixture
from paritygate.plugin.items import MATRIX
from paritygate_reports.analysis import baseline
from paritygate_reports.files import jsontext
from paritygate_reports.renderers import github, html, markdown, terminal
from paritygate_reports.view import charts, gate_lines
from paritygate_reports.view.page import Page
from paritygate_reports.view.sections import sections
from paritygate_reports.view.table import groups

RUN = Run("1a2b3c4d", "2026-01-01T00:00:00+00:00", "quick", True, 0)
REST = "while lowering <b>mm</b>\nthe end"
REASON = f"BackendCompilerFailed: backend='inductor' raised:\nInductorError: KeyError: 'x'\n{REST}"
FIRST = "BackendCompilerFailed: backend='inductor' raised: InductorError: KeyError: 'x'"
FAILED = Record("a-b8-cpu-compile-fp32", "a", "b8", "cpu", "compile", "fp32", Status.FAILED, REASON)
UNCHECKED = replace(
    FAILED, cell="c-b8-cpu-eager-fp32", case="c", backend="eager", status=Status.UNCHECKED
)
SKIPPED = replace(UNCHECKED, cell="d-b8-cpu-eager-fp32", case="d", status=Status.SKIPPED)
BROKEN = replace(FAILED, verdict="broken", verdict_reason=f"head: {REASON}")


def test_a_table_has_the_first_line():
    ((row,),) = (group.rows for group in groups([FAILED]))

    assert row.note == f"failed: {FIRST}"


def test_the_terminal_has_it_in_the_table_and_every_line_below():
    lines = terminal.render(RUN, [FAILED]).splitlines()

    (row,) = [line for line in lines if line.startswith("  cpu-compile-fp32")]
    assert row.endswith(
        "failed: BackendCompilerFailed: backend='inductor' raised: InductorError: KeyErr…"
    )
    start = lines.index("  failed  a-b8-cpu-compile-fp32")
    assert lines[start + 1 : start + 4] == [
        f"      {line}" for line in (FIRST, "while lowering <b>mm</b>", "the end")
    ]


@pytest.mark.parametrize("record", [UNCHECKED, SKIPPED], ids=lambda record: str(record.status))
def test_a_point_of_many_cells_leads_with_it_and_goes_on_below(record):
    other = replace(record, cell="e-b8-cpu-eager-fp32", case="e")
    (item,) = [
        item
        for section in sections(RUN, [record, other])
        for item in section.items
        if "cells: " in item.lead
    ]

    assert item.lead == f"2 cells: {FIRST}"
    assert item.body == REST


def test_markdown_has_it_in_the_table_and_all_of_it_to_unfold():
    lines = markdown.render(RUN, [FAILED, UNCHECKED]).splitlines()

    (row,) = [line for line in lines if line.startswith("| cpu-compile-fp32")]
    assert "InductorError" in row
    assert "while lowering" not in row
    whole = [line for line in lines if "all of it" in line]
    assert len(whole) == 2
    assert all("while lowering &lt;b&gt;mm&lt;/b&gt;<br>the end" in line for line in whole)


def test_the_page_has_it_in_labels_and_tables_and_all_of_it_in_its_sections():
    page = html.render(Page(RUN, [FAILED, UNCHECKED]), plotly="plotly.js")

    assert page.count("while lowering &lt;b&gt;mm&lt;/b&gt;\nthe end</pre>") == 2
    assert page.count("KeyError: &#39;x&#39;</td>") == 2
    (label,) = charts.speed_map([FAILED])["data"][0]["customdata"][0]
    assert label == charts.plain(f"{FAILED.cell}: failed: {FIRST}")


def test_an_annotation_has_all_of_it_in_one_line():
    (command,) = github.commands(RUN, [FAILED])

    assert command.endswith("InductorError: KeyError: 'x'%0Awhile lowering <b>mm</b>%0Athe end")
    assert "\n" not in command


def test_one_that_is_too_long_for_an_annotation_says_so():
    (command,) = github.commands(RUN, [replace(FAILED, reason="line\n" * 5000)])

    assert len(command.replace("%0A", "\n")) < 4200
    assert "characters left out" in command


def test_a_verdict_of_the_gate_has_it_in_its_line_and_the_rest_below():
    assert gate_lines.line(BROKEN).endswith(f"a-b8-cpu-compile-fp32: head: {FIRST}")
    assert gate_lines.body(BROKEN) == REST
    assert "\n" not in gate_lines.line(BROKEN)


def test_a_comparison_with_other_days_has_the_first_line():
    cell = {"cell": FAILED.cell, "status": "failed", "reason": REASON, "latency_p50": None}
    head = pd.DataFrame(
        [
            cell
            | {"run": "1", "started": pd.Timestamp.now("UTC"), "machine": "{}", "calibration": "{}"}
        ]
    )

    assert list(baseline.compare(head[:0], head)["reason"]) == [f"failed: {FIRST}"]


def test_json_has_every_line():
    (row,) = json.loads(jsontext.run_text(RUN, [FAILED]))["records"]

    assert row["reason"] == REASON


# -- what pytest shows


def test_a_skip_of_pytest_has_all_of_an_unchecked_cell_and_one_line_of_many_skipped_ones():
    assert shown(UNCHECKED) == f"{UNCHECKED.cell}: unchecked: {REASON}"
    assert shown(SKIPPED) == FIRST


def test_a_failure_has_all_of_it_and_begins_with_a_line_that_says_something():
    message = shown(
        replace(FAILED, reason=f"{FIRST}\nwhile lowering", facts={"trace": "Traceback ..."})
    )

    assert message == f"{FAILED.cell}: failed: {FIRST}\nwhile lowering\nTraceback ..."


def test_an_expected_failure_has_one_line():
    gap = replace(FAILED, status=Status.PARITY_FAILED, facts={"known_gap": "issue 12"})

    assert shown(gap) == f"known failure: issue 12 ({FIRST})"


def shown(record):
    """What the test_parity of such a cell ends with."""
    matrix = SimpleNamespace(checked=lambda cell: record)
    config = SimpleNamespace(stash={MATRIX: matrix}, getoption=lambda name, default=None: False)
    item = SimpleNamespace(config=config, stash={}, fixturenames=())
    made = cell_fixture.CellHandle(SimpleNamespace(id=record.cell), item)
    try:
        made.skip_if_due()
        made.assert_parity()
    except (pytest.fail.Exception, pytest.skip.Exception, pytest.xfail.Exception) as ended:
        return str(ended)
    return ""
