"""The table of what is covered, in bench/suites/README.md, is whole and true: every cell in it is collected."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT


def table():
    """(what, cell id) of every row."""
    text = (ROOT / "bench" / "suites" / "README.md").read_text("utf-8")
    rows = re.search(r"\| what \| cells \|\n\|---\|---\|\n((?:\|.*\n)+)", text)[1].splitlines()
    columns = [row.split("|") for row in rows]
    return [(what, cell) for _, what, cells, _ in columns for cell in re.findall("`(.+?)`", cells)]


@pytest.fixture(scope="module", name="collected")
def _collected():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "bench",
        "--collect-only",
        "-q",
        "--bench-budget",
        "long",
        "--bench-targets",
        "cpu-*",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return set(re.findall(r"\[(.+)\]$", done.stdout, re.M))


@pytest.mark.parametrize(("what", "cell"), table())
def test_what_is_covered_is_a_cell(collected, what, cell):
    assert cell in collected, what


@pytest.mark.parametrize(
    "thing",
    [
        "CNN of digits",
        "CNN of colour images",
        "multi-layer perceptron",
        "softmax",
        "attention by its formula",
        "self-attention",
        "multi-head",
        "encoder and decoder",
        "BERT for sequence classification",
        "SGD(0.01)",
        "SGD with momentum 0.9",
        "Adam(5e-5)",
        "AdamW(5e-5)",
        "ten epochs",
        "the four sentences",
        "autograd",
        "DataLoader",
        "AutoTokenizer",
        "BertTokenizer",
        "pruning",
        "distillation",
        "int8",
        "mixed precision",
        "distributed training",
        "memory that leaks",
    ],
)
def test_the_table_is_whole(thing):
    assert any(thing in what for what, _ in table())
