"""What must start fast or run alone imports nothing heavy: each in a fresh process."""

import subprocess
import sys

import pytest

from tests.support import imports


def test_declaring_imports_no_torch_and_no_numpy():
    assert imports.run("import paritygate; paritygate.Case").modules & imports.HEAVY == set()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["runs", "--help"], ["aa", "--help"]]
)
def test_help_imports_nothing_heavy(arguments):
    assert imports.run(imports.COMMAND, *arguments).modules & imports.HEAVY == set()


def test_importing_a_small_network_imports_neither_transformers_nor_the_harness():
    imports = "import sys, models.cnn, models.mlp, models.bert, models.attention, models.digits; "
    check = "assert not {'transformers', 'sklearn', 'paritygate', 'paritygate_reports'} & set(sys.modules), 'too much'"
    subprocess.run([sys.executable, "-c", imports + check], check=True, timeout=120)
