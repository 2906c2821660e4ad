"""Docstrings are read by strangers: they begin plainly, and their sentences are short."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

FOLDERS = ("bench", "reports/paritygate_reports", "models", ".github/scripts")
RIDDLES = ("What", "Of", "Whose", "Whatever", "Whoever", "Who")  # first words of a sentence
WORDS = 30  # in a sentence, code in backticks as one word
BREAK = re.compile(r"\n\s*\n|\n\s*- |(?<=[.!?:])\s+(?=[A-Z`\"(])|::\n")


def files() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def sentences(path: Path) -> list[tuple[int, str]]:
    """Return the sentences of all docstrings of a file, with the line of each docstring."""
    every = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            # commands and tables stand for themselves
            text = re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)
            text = re.sub(r"``[^`]*``", "CODE", text)
            line = getattr(node, "lineno", 1)
            every += [(line, " ".join(part.split())) for part in BREAK.split(text) if part.strip()]
    return every


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_are_plain_and_their_sentences_short(path):
    problems = []
    for line, sentence in sentences(path):
        place, words = f"{path}:{line}", sentence.split()
        if (first := words[0].strip("(:,")) in RIDDLES:
            problems.append(f"{place} begins with {first!r}, say what it is or does: {sentence}")
        if len(words) > WORDS:
            problems.append(f"{place} has {len(words)} of {WORDS} words, cut it: {sentence}")

    assert not problems, "\n".join(problems)
