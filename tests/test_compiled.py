"""torch.compile with CUDA graphs, without a GPU: what is marked, refused and told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from bench import facts
from bench.backends import Misbehaved, compiled
from tests.fakes import subject


class Counters:
    def __init__(self, **found):
        self.found = {"graph_breaks": 0, "graph_break_reasons": {}, "graphs": 1, "cudagraph_skips": 0,
                      "cudagraph_skip_reasons": ["mutated inputs"]} | found  # fmt: skip

    def facts(self):
        return dict(self.found)

    def cold(self):
        return False


@pytest.mark.parametrize(("name", "device", "marks"), [
    ("compile_reduce_overhead", "cuda", 2), ("compile_max_autotune", "cuda", 2), ("compile", "cuda", 0),
    ("compile_max_autotune", "cpu", 0),
])  # fmt: skip
def test_cuda_graphs_are_told_of_each_step_and_may_not_be_skipped(monkeypatch, name, device, marks):
    marked = []
    monkeypatch.setattr(torch, "compile", lambda module, **options: module)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marked.append(1))
    monkeypatch.setattr("bench.facts.CompileCounters", lambda: Counters(cudagraph_skips=marks))
    model = torch.nn.Linear(4, 2)
    given = subject(name, device)
    given.module, given.case = lambda: model, {"graph_breaks": 0, "mode": "inference"}
    prepared = compiled.prepare(given)
    for _ in range(2):
        prepared.call((torch.zeros(1, 4),))

    assert len(marked) == marks
    assert (prepared.kernels((torch.zeros(1, 4),)) is None) == bool(marks), "a replayed graph shows none"
    if name == "compile_reduce_overhead":
        with pytest.raises(Misbehaved, match=r"fallback: CUDA graphs were skipped 2 times \(mutated inputs\)"):
            prepared.facts()
    else:
        prepared.facts()


def test_reasons_why_cuda_graphs_were_skipped_are_told(monkeypatch):
    told = [SimpleNamespace(cudagraph_skip_reason=reason) for reason in ("mutated inputs", None, "mutated inputs")]
    counters = facts.CompileCounters()
    assert counters.facts()["cudagraph_skip_reasons"] == []
    monkeypatch.setattr(counters, "_metrics", lambda: told)
    assert counters.facts()["cudagraph_skip_reasons"] == ["mutated inputs"]
