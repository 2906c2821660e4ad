"""The code that compilers generate is a fact: equal for equal work, whatever things are called."""

from __future__ import annotations

import pytest

from paritygate.core.case import Case
from paritygate.runtime.generated_code import digest

SOURCE = """
import torch
from torch import nn
from tests.support.specimens import rows


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.{hidden}, self.out = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, {x}):
        return self.out(torch.{act}(self.{hidden}({x})))
"""
BACKENDS = ("compile", "onnxruntime")


@pytest.fixture(scope="module")
def codes(shared):
    """The fact of each of three models, by backend."""
    found = {}
    models = {
        "plain": {"hidden": "hidden", "x": "x", "act": "tanh"},
        "renamed": {"hidden": "hidden", "x": "given", "act": "tanh"},
        "other": {"hidden": "hidden", "x": "x", "act": "relu"},
    }
    for name, words in models.items():
        module = f"generated_{name}"
        shared.module(module, SOURCE.format(**words))
        case = Case(
            module,
            model=f"{module}:Net",
            inputs=f"{module}:rows",
            shapes={"b8": {"batch": 8}},
        )
        records = shared.run(case, *BACKENDS)
        found[name] = {
            backend: records[backend].facts.get("generated_code") for backend in BACKENDS
        }
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_work_is_equal_code_whatever_its_names(codes, backend):
    assert codes["plain"][backend]
    assert codes["renamed"][backend] == codes["plain"][backend]


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_work_is_other_code(codes, backend):
    assert codes["other"][backend] != codes["plain"][backend]


def test_comments_say_nothing_of_the_work():
    code = "# AOT ID: ['0_forward']\nimport torch\n    // hidden\n#include <cmath>\ncall(1)\n"

    assert digest(code) == digest(code.replace("0_forward", "3_inference").replace("hidden", "h"))
    assert digest(code) != digest(code.replace("cmath", "math.h"))
    assert digest(code) != digest(code.replace("call(1)", "call(2)"))
