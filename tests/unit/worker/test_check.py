"""Answers against what the reference worker has left: eager's own comparison holds for eager's
bits, and no others.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from paritygate.parity.tolerance import tolerances
from paritygate.runtime.scratch import Scratch
from paritygate.worker import check

SETS = 4


@pytest.fixture
def subject(tmp_path):
    """A subject of which the scratch folder holds eager's answers, float64's, and eager's
    comparison.
    """
    random = np.random.default_rng(0)
    truth = [[random.standard_normal((8, 16))] for _ in range(SETS)]
    scratch = Scratch(tmp_path)
    scratch.save_answers("reference", truth)
    scratch.save_answers("eager", [[outputs[0].astype(np.float32)] for outputs in truth])
    made = SimpleNamespace(scratch=scratch, tolerance=tolerances()["fp32"], gradient_start=None)
    scratch.save(check.OF_EAGER, check.compare(made, scratch.load_answers("eager")))
    return made


@pytest.fixture
def compared(monkeypatch):
    """How often answers were really compared."""
    calls = []
    real = check.rule.compare
    monkeypatch.setattr(
        check.rule, "compare", lambda *given, **more: calls.append(1) or real(*given, **more)
    )
    return calls


def test_answers_with_eagers_bits_are_not_compared_again(subject, compared):
    outcome = check.compare(subject, subject.scratch.load_answers("eager"))
    assert outcome == subject.scratch.load(check.OF_EAGER)
    assert outcome.agrees
    assert outcome.compared == SETS * 8 * 16
    assert compared == []


def test_one_other_bit_is_compared(subject, compared):
    answers = subject.scratch.load_answers("eager")
    answers[3][0][7, 15] = np.nextafter(answers[3][0][7, 15], np.float32(9))
    outcome = check.compare(subject, answers)
    assert outcome.agrees
    assert compared == [1]


def test_a_wrong_element_is_found(subject):
    answers = subject.scratch.load_answers("eager")
    answers[3][0][7, 15] *= 1.001
    assert not check.compare(subject, answers).agrees


@pytest.mark.parametrize("sets", [0, 3])
def test_fewer_answers_are_not_eagers(subject, sets):
    with pytest.raises(ValueError, match="zip"):
        check.compare(subject, subject.scratch.load_answers("eager")[:sets])


def test_the_same_numbers_in_another_dtype_are_not_eagers(subject):
    answers = [[outputs[0].astype(np.float64)] for outputs in subject.scratch.load_answers("eager")]
    outcome = check.compare(subject, answers)
    assert not outcome.agrees
    assert "dtype float64, eager's is float32" in outcome.problem


def test_some_of_the_sets_and_twins_are_compared(subject, compared):
    answers = subject.scratch.load_answers("eager")
    check.compare(subject, answers[:1], slice(1))
    check.compare(subject, answers, twins=[answers])
    assert compared == [1, 1]
