"""A gate's verdicts as lines: worst first, with interval and launches, and what is to be said of
the run.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from paritygate.core.record import Record, Run, Status
from paritygate_reports.renderers import markdown, terminal
from paritygate_reports.view import gate_lines
from paritygate_reports.view.sections import conclusion, passed, summary

GATE = {
    "against": "origin/main",
    "commit": "0123456789abcdef",
    "profile": "normal",
    "invalid": [],
    "missing": [],
    "warnings": ["drift: ..."],
}
RUN = Run("1", "2026-01-01T00:00:00+00:00", "quick", True, 0, environment={"gate": GATE})
OK = Record(
    "a-b8-cpu-eager-fp32", "a", "b8", "cpu", "eager", "fp32", Status.OK, throughput=5.0, unit="row"
)
SAME = replace(
    OK,
    verdict="same",
    verdict_reason="any change is below 3%",
    effect=0.001,
    effect_low=-0.002,
    effect_high=0.004,
    launches=3,
    detectable=0.015,
)
SLOWER = replace(
    SAME,
    cell="b-b8-cpu-eager-fp32",
    verdict="regressed",
    verdict_reason="slower",
    effect=0.08,
    findings=["graph_breaks: 0 -> 1"],
)
OPEN = replace(
    SAME, cell="d-b8-cpu-eager-fp32", verdict="inconclusive", verdict_reason="the time was up"
)
APART = replace(
    OK, cell="c-b8-cpu-eager-fp32", verdict="not_comparable", verdict_reason="its code is elsewhere"
)


def test_the_worst_comes_first():
    found = gate_lines.compared([SAME, APART, SLOWER, OK])

    assert [record.verdict for record in found] == ["regressed", "not_comparable", "same"]
    assert gate_lines.title(RUN, found) == (
        "head against origin/main (0123456789), profile normal: 1 regressed, 1 not comparable, 1 same"
    )


def test_cells_that_were_left_out_are_counted_apart_and_not_as_checked():
    left_out = replace(
        OK,
        cell="e-b8-cpu-eager-fp32",
        case="e",
        throughput=None,
        verdict="same",
        verdict_reason="identical code and data, in 3 files",
        facts={"identical": True},
    )
    both, alone = [SAME, left_out], [left_out]

    assert gate_lines.title(RUN, gate_lines.compared(both)).endswith(
        ": 2 same (1 not measured: identical)"
    )
    assert summary(RUN, both) == "1 cell ok, 1 cell identical on both sides"
    assert summary(RUN, alone) == "1 cell identical on both sides"
    assert conclusion(RUN, alone) == "ok"
    text = terminal.render(RUN, both)
    assert "e-b8-cpu-eager-fp32: identical code and data, in 3 files" in text
    assert "parity at" not in text


def test_the_table_tells_size_interval_launches_and_what_changed_for_certain():
    text = terminal.render(RUN, [SAME, SLOWER, APART])

    assert (
        "  regressed      +8.0% (-0.2% to +0.4%)     b-b8-cpu-eager-fp32  3 launch pairs, sees 1.5%"
        in text
    )
    assert "      graph_breaks: 0 -> 1" in text
    assert "  not comparable c-b8-cpu-eager-fp32: its code is elsewhere" in text
    assert "drift: ..." in text
    assert max(map(len, text.splitlines())) <= terminal.WIDTH


def test_a_family_of_three_cells_gets_its_mean_as_advice():
    cells = [replace(SAME, cell=f"a-b{n}-cpu-eager-fp32", effect=0.01 + n / 1e3) for n in (1, 2, 3)]

    assert gate_lines.families(cells) == ["a cpu-eager: +1.2% (+1.0% to +1.4%) over 3 cells"]
    assert gate_lines.families([*cells[:2], replace(cells[2], backend="compile"), APART]) == []
    assert "families (mean over their cells, advisory)\n  a cpu-eager: +1.2%" in terminal.render(
        RUN, cells
    )


def test_a_regression_is_not_ok_in_the_comment_either():
    assert passed(RUN, [SAME])
    assert not passed(RUN, [SAME, SLOWER])
    text = markdown.render(RUN, [SAME, SLOWER])
    assert text.startswith("## paritygate: not ok")
    assert text.index("regressed") < text.index("Table")


@pytest.mark.parametrize(
    ("cells", "facts", "word"),
    [
        ([SAME], {}, "ok"),
        ([SAME], {"exit_status": 0}, "ok"),
        ([SAME], {"exit_status": 15}, "not ok"),
        ([SAME, OPEN], {}, "ok, 1 of 2 cells undecided"),
        ([OPEN], {}, "undecided"),
        ([OPEN, APART], {"exit_status": 14}, "undecided"),
        ([SAME], {"gate": GATE | {"invalid": ["side bias: ..."]}}, "not ok"),
        ([SAME], {"gate": GATE | {"missing": ["x-b1-cpu-eager-fp32"]}}, "not ok"),
        ([OPEN], {"gate": GATE | {"invalid": ["side bias: ..."]}}, "not ok"),
        ([OPEN, SLOWER], {}, "not ok"),
    ],
)
def test_the_headline_is_ok_only_if_something_was_decided(cells, facts, word):
    run = replace(RUN, environment=RUN.environment | facts)

    assert conclusion(run, cells) == word
    assert passed(run, cells) == word.startswith("ok")
    assert markdown.render(run, cells).startswith(f"## paritygate: {word}\n")


def test_an_invalid_run_and_missing_cells_are_said():
    run = replace(
        RUN,
        environment={
            "gate": GATE | {"invalid": ["side bias: ..."], "missing": ["x-b1-cpu-eager-fp32"]}
        },
    )
    text = " ".join(terminal.render(run, [SAME]).split())

    assert "run invalid: side bias: ...; nothing in it is a verdict" in text
    assert "missing: x-b1-cpu-eager-fp32 is in base and not in head" in text
