"""Machines are told apart by the facts in which they differ, and by no others."""

from __future__ import annotations

import json

import pytest

from paritygate_reports.analysis.machines import differing, distinguishing_facts


def test_facts_that_differ_are_named_with_both_values():
    assert differing('{"a": 1, "c": 3}', '{"b": 2, "c": 3}') == ["a 1 -> None", "b None -> 2"]


@pytest.mark.parametrize(
    ("machines", "names"),
    [
        ([], []),
        ([{"threads": 2}], [""]),
        ([{"threads": 2}, {"threads": 4}], ["threads 2", "threads 4"]),
        ([{"cpu": "x", "threads": 2}, {"cpu": "x"}], ["threads 2", "threads None"]),
        (
            [{"cpu": "x", "n": 1}, {"cpu": "y", "n": 1}, {"cpu": "x", "n": 2}],
            ["cpu x, n 1", "cpu y, n 1", "cpu x, n 2"],
        ),
    ],
)
def test_each_has_the_facts_that_are_not_the_same_in_all(machines, names):
    assert distinguishing_facts([json.dumps(machine) for machine in machines]) == names
