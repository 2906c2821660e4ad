"""The terminal's table, against a golden text; and the texts of values it is made of."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from paritygate.core.record import Status
from paritygate_reports.files.jsontext import read_run
from paritygate_reports.renderers.terminal import WIDTH, lines, render
from paritygate_reports.view import text
from tests.support.paths import GOLDEN

RUN, RECORDS = read_run(GOLDEN / "run.json")
PLACES = ["records: .paritygate/store.sqlite, run 1a2b3c4d", "report: out/run.md"]


def test_the_table_is_the_golden_one():
    """``GOLDEN=write pytest tests/unit/reports/test_terminal.py`` writes it anew; look at the difference."""
    golden = GOLDEN / "terminal.txt"
    found = render(RUN, RECORDS, PLACES)
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(found, "utf-8")
    assert found == golden.read_text("utf-8")


def test_no_line_is_longer_than_the_width():
    assert max(len(line) for line in render(RUN, RECORDS, PLACES).splitlines()) <= WIDTH


@pytest.mark.parametrize("name", ["x" * 300, "\x1b[31mred", "a\nb", "\u202egnol", "日本", "{}%s"])
def test_hostile_names_break_neither_lines_nor_the_terminal(name: str):
    hostile = [
        replace(
            record,
            case=name,
            cell=name,
            reason=name + "\n" + name,
            unit=name,
            warnings=[name],
            facts={"known_gap": name},
        )
        for record in RECORDS
    ]
    out = render(replace(RUN, branch=name, absent={name: name}), hostile, [])
    assert all(char.isprintable() or char == "\n" for char in out)
    assert max(len(line) for line in out.splitlines()) <= WIDTH


def test_brief_keeps_the_table_and_what_is_bad():
    brief = "\n".join(line.text for line in lines(RUN, RECORDS, brief=True))
    assert "SIGSEGV" in brief
    assert "20.1k" in brief
    assert "flex_attention" not in brief


def test_the_last_lines_are_good_only_when_all_is():
    def tone(records):
        return list(lines(RUN, records))[-1].tone

    ok = [record for record in RECORDS if record.status is Status.OK]
    assert tone(ok) == "good"
    assert tone(RECORDS) == tone([]) == "bad"


def test_a_gap_that_fails_in_another_way_is_a_failure():
    gap = replace(next(r for r in RECORDS if r.facts.get("known_gap")), status=Status.CRASHED)
    out = render(RUN, [gap])
    assert "failures\n  crashed  " + gap.cell in out


def test_a_run_without_records_says_so_in_its_summary():
    assert "0 cells ok" in render(RUN, [])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.96, "100"),
        (1234.4, "1,234"),
        (0.0412, "0.0412"),
        (float("nan"), "nan"),
        (1e-30, "0.000000000000"),
    ],
)
def test_digits(value: float, expected: str):
    assert text.digits(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (845.2, "845"),
        (1234.0, "1,234"),
        (20117.0, "20.1k"),
        (1.234e6, "1.23M"),
        (3e9, "3.00G"),
    ],
)
def test_rate(value: float | None, expected: str):
    assert text.rate(value) == expected


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        ([1.5, 0.2], "s"),
        ([0.015, 1.5], "ms"),
        ([2e-4], "ms"),
        ([8.7e-6], "µs"),
        ([None], "s"),
        ([], "s"),
    ],
)
def test_seconds_have_one_unit_a_group(times: list[float | None], unit: str):
    assert text.second_unit(times) == unit


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1.312,), "~1.31x"),
        ((1.0, None, None, True), "1.00x"),
        ((1.31, 1.28, 1.34), "1.31x ±2 %"),
        ((36.4, 36.3, 36.5), "36.4x ±0.3 %"),
        ((None,), ""),
        ((1234.0,), "~1,234x"),
    ],
)
def test_ratio(arguments, expected: str):
    assert text.ratio(*arguments) == expected


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (text.percent, 0.23, "23 %"),
        (text.percent, 0.004, "<1 %"),
        (text.percent, 12.4, "1,240 %"),
        (text.percent, None, ""),
        (text.percent, float("inf"), "inf"),
        (text.fine_percent, 0.99999, "99.9 %"),
        (text.fine_percent, 1.0, "100 %"),
        (text.error, 3.58e-7, "3.6e-7"),
        (text.error, 0.0, "0"),
        (text.error, float("nan"), "nan"),
        (text.memory, 454 * 2**20, "454 MiB"),
        (text.duration, 12.34, "12.3 s"),
        (text.duration, 125.2, "2 min 5 s"),
    ],
)
def test_values_as_people_read_them(function, value, expected: str):
    assert function(value) == expected
