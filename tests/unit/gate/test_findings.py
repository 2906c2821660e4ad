"""What changed for certain, a line each; nothing where nothing did."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from paritygate.core.record import Record, Status
from paritygate.gate.findings import (
    changed_answers,
    changed_clock,
    changed_facts,
    changed_kept,
    changed_operators,
    changed_peak,
    same_code,
)
from paritygate.process.protocol import Compared

FACTS = {"graphs": 1, "graph_breaks": 0, "nodes": {"MatMul": 4, "Add": 2}}
BASE = Record(
    "a-b8-cpu-compile-fp32",
    "a",
    "b8",
    "cpu",
    "compile",
    "fp32",
    Status.OK,
    parameters=10,
    flops=100,
    peak_bytes=100 << 20,
    facts=FACTS,
)


def test_equal_facts_say_nothing():
    assert changed_facts(BASE, BASE) == []
    assert changed_kept(BASE, BASE, ["graphs", "nodes", "sdpa_kernels", "parameters"]) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"graphs": 2}, ["graphs: 1 -> 2"]),
        ({"nodes": {"MatMul": 3, "Add": 2}}, ["nodes: MatMul 4 -> 3"]),
        ({"graphs": None}, ["graphs: 1 -> None"]),
        ({"sdpa_kernels": {"flash": 1}}, ["sdpa_kernels: None -> {'flash': 1}"]),
        ({"graph_breaks": 1}, []),  # not kept
    ],
)
def test_a_kept_fact_may_not_come_or_go(changed, told):
    """Though a fact that only one side knows is no finding."""
    facts = {name: fact for name, fact in (FACTS | changed).items() if fact is not None}
    head = replace(BASE, facts=facts)

    assert changed_kept(BASE, head, ["graphs", "nodes", "sdpa_kernels"]) == told
    assert changed_kept(BASE, replace(BASE, flops=90), ["flops"]) == ["flops: 100 -> 90"]


@pytest.mark.parametrize(
    ("head", "line"),
    [
        ({"facts": BASE.facts | {"graph_breaks": 1}}, "graph_breaks: 0 -> 1"),
        (
            {"facts": BASE.facts | {"nodes": {"MatMul": 4, "Add": 3, "Cast": 1}}},
            "nodes: Add 2 -> 3, Cast 0 -> 1",
        ),
        ({"parameters": 11}, "parameters: 10 -> 11"),
        ({"flops": 90}, "flops: 100 -> 90"),
    ],
)
def test_each_change_is_a_line(head, line):
    assert changed_facts(BASE, replace(BASE, **head)) == [line]


MIB = 1 << 20


@pytest.mark.parametrize(
    ("peaks", "line"),
    [
        ([], None),
        ([(100 * MIB, 120 * MIB)] * 3, "peak memory: 100.0 -> 120.0 MiB"),
        (
            [(100 * MIB, 90 * MIB), (100 * MIB, 88 * MIB), (101 * MIB, 92 * MIB)],
            "peak memory: 100.0 -> 90.0 MiB",
        ),
        ([(100 * MIB, 101 * MIB)] * 3, None),  # as one cell differs from itself
        (
            [(52 * MIB, 56 * MIB), (52 * MIB, 52 * MIB), (52 * MIB, 56 * MIB)],
            None,
        ),  # in one launch it was not so
    ],
)
def test_more_peak_memory_is_a_line_where_every_launch_says_so(peaks, line):
    assert changed_peak(peaks) == line


def test_the_operators_that_take_longer_are_named_the_worst_first():
    base = {"addmm": 100e-6, "relu": 10e-6, "copy_": 5e-6}
    head = {"addmm": 101e-6, "relu": 8e-6, "copy_": 5e-6, "clone": 30e-6}

    assert changed_operators(base, head) == [
        "operator clone: 0 -> 30 µs a call",
        "operator addmm: 100 -> 101 µs a call",
    ]
    assert len(changed_operators({}, {str(n): 1e-6 for n in range(9)})) == 5


@pytest.mark.parametrize(
    ("compared", "said"),
    [
        (Compared(True, 0.0, ""), None),
        (Compared(False, 2e-7, ""), "by 2e-07 on the same inputs and weights (rounding)"),
        (
            Compared(False, 1e-3, "output 0: error ..."),
            "by 0.001 on the same inputs and weights (more than backends may differ by)",
        ),
        (
            Compared(False, float("inf"), "shape (2,)"),
            "shape (2,)",
        ),
    ],
)
def test_answers_are_the_same_bits_or_say_how_far_off(compared, said):
    line = changed_answers(compared)

    assert line is None if said is None else said in line


def test_a_head_that_is_slower_by_its_clock_alone_takes_no_more_cycles():
    slower = [math.log(1.03)] * 3

    line = changed_clock([-d for d in slower], [0.0] * 3)
    assert line == "device clock: -2.9% after head's blocks; counted in cycles head takes +0.0%"


def test_a_clock_that_is_the_same_says_nothing():
    assert changed_clock([0.001, -0.002, 0.0], [0.05] * 3) is None
    assert changed_clock([], []) is None


@pytest.mark.parametrize(
    ("base", "head", "same"),
    [("ab", "ab", True), ("ab", "cd", False), (None, None, False), ("ab", None, False)],
)
def test_the_same_code_is_told_only_where_it_is_known(base, head, same):
    sides = [replace(BASE, facts={"generated_code": code} if code else {}) for code in (base, head)]

    assert same_code(*sides) is same
    told = ["generated_code: ab -> cd"] if (base, head) == ("ab", "cd") else []
    assert changed_facts(*sides) == told
