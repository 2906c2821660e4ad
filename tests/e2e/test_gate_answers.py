"""The gate where head answers otherwise than base: status 10, unless a trailer says that it is meant.

Its cells are small models of which head computes something else, by as little as users do by
mistake.
"""

from __future__ import annotations

from tests.support.repository import INI

PARTS = """
    import torch
    from torch.nn import functional

    from tests.support.clock import work

    WIDTH = 64


    class Base(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Linear(WIDTH, WIDTH)
            self.second = torch.nn.Linear(WIDTH, 8)

        def forward(self, x):
            work(SECONDS)
            return self.second(self.between(self.first(x)))


    class Gelu(Base):
        def between(self, x):
            return functional.gelu(x, approximate=GELU)


    class Norm(Base):
        def between(self, x):
            return functional.layer_norm(x, (WIDTH,), eps=EPS)


    class Masked(Base):
        def between(self, x):
            scores = x @ x.transpose(-1, -2) / 8
            hidden = torch.arange(x.shape[-2]) >= x.shape[-2] - 2
            rows = torch.arange(len(x)) != UNMASKED_ROW
            return scores.masked_fill(hidden & rows[:, None, None], -1e9).softmax(-1) @ x


    class Order(Base):
        def between(self, x):
            half, weight = WIDTH // 2, self.first.weight
            if not HALVES:
                return x @ weight
            return x[..., half:] @ weight[half:] + x[..., :half] @ weight[:half]


    def inputs(sizes, generator):
        return (torch.randn(sizes["batch"], 6, WIDTH, generator=generator),)
"""
# head is so much faster that two or three launch pairs decide on its speed
BASE = """
    GELU, EPS, UNMASKED_ROW, HALVES, SECONDS = "none", 1e-12, -1, False, 0.002
"""
HEAD = """
    GELU, EPS, UNMASKED_ROW, HALVES, SECONDS = "tanh", 1e-5, 3, True, 0.001
"""
SUITE = """
    CASES = tuple(
        Case(name, model=f"my_model:{model}", inputs="my_model:inputs", shapes={"b8": {"batch": 8}})
        for name, model in {
            "gelu": "Gelu", "norm": "Norm", "masked": "Masked", "order": "Order",
            "meant_by_name": "Gelu", "meant_by_glob": "Norm",
        }.items()
    )
"""
MESSAGE = """other answers

Bench-Accept: meant_by_name-b8-cpu-eager-fp32 answers the approximation is what was trained with
Bench-Accept: *_glob-* answers as in the paper
Bench-Accept: gelu-* <= 50 % a slowdown forgives no answers
"""


def test_other_answers_are_10_unless_meant_and_rounding_is_a_finding(repository):
    repository.project.write("pytest.ini", INI)
    repository.project.write("my_model.py", PARTS)
    with (repository.project.path / "my_model.py").open("a") as file:
        file.write(BASE.replace("    ", ""))
    repository.project.suite(SUITE)
    repository.commit("before")
    repository.project.write("my_model.py", PARTS)
    with (repository.project.path / "my_model.py").open("a") as file:
        file.write(HEAD.replace("    ", ""))
    repository.git("commit", "-q", "-a", "-m", MESSAGE)
    result = repository.gate("--bench-report", "r.md", against="before")

    assert result.ret == 10
    records = {cell.partition("-")[0]: r for cell, r in repository.project.records().items()}
    verdicts = {name: record.verdict for name, record in records.items()}
    for name in ("gelu", "norm", "masked"):
        assert verdicts[name] == "answers_changed", (name, records[name].findings)
        assert "wrong by base's own reference answers: output 0" in records[name].verdict_reason
    for name in ("order", "meant_by_name", "meant_by_glob"):
        assert verdicts[name] == "improved", records[name].verdict_reason
    assert any(line.endswith("(rounding)") for line in records["order"].findings)
    assert "answers: accepted: as in the paper" in records["meant_by_glob"].findings
    result.stdout.fnmatch_lines(
        [
            "*answers changed *gelu-b8-cpu-eager-fp32*",
            "paritygate: exit status 10: 3 cells with other answers than the other revision",
        ]
    )
    assert (repository.project.path / "r.md").read_text().startswith("## paritygate: not ok")
