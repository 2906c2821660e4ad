"""A model that keeps its answers: a run fails it by name, and so does the gate."""

from __future__ import annotations

import pytest

from tests.support.project import MODEL
from tests.support.repository import ONE, Repository

# A call takes 2 ms by the real clock.
WORKS = MODEL.replace("import torch\n", "import time\n\n    import torch\n", 1).replace(
    "return self.layers(x)",
    "over = time.perf_counter() + 0.002\n"
    "            while time.perf_counter() < over:\n"
    "                pass\n"
    "            return self.layers(x)",
)

KEEPS = """

    class Kept(Net):
        def __init__(self):
            super().__init__()
            self.__dict__["kept"] = {}

        def forward(self, x):
            key = bytes(x.contiguous().numpy())
            if key not in self.kept:
                self.kept[key] = super().forward(x)
            return self.kept[key].clone()


    Net = Kept
"""
REASON = "cached by value: an input set takes"


@pytest.fixture
def repository(project):
    return Repository(project, WORKS)


def test_a_run_names_a_model_that_keeps_its_answers(repository):
    repository.model(KEEPS, WORKS)
    result = repository.project.run()

    assert result.ret == 12
    record = repository.project.records()[ONE]
    assert (record.status, record.latency_p50) == ("failed", None)
    assert record.reason.startswith(REASON)
    result.stdout.fnmatch_lines([f"*{ONE}*{REASON}*"])


def test_the_gate_calls_no_such_head_faster(repository):
    repository.model(KEEPS, WORKS)
    result = repository.gate()

    assert result.ret == 12
    record = repository.project.records()[ONE]
    assert record.verdict == "broken"
    assert REASON in record.verdict_reason


def test_the_gate_says_that_it_was_base(repository):
    repository.model(KEEPS, WORKS)
    repository.commit("keeps")
    repository.model("", WORKS)
    result = repository.gate(against="keeps")

    record = repository.project.records()[ONE]
    assert record.verdict == "broken"
    assert record.verdict_reason.startswith("base")
    assert REASON in record.verdict_reason
    assert result.ret == 14, "there is nothing to compare with"
