"""Ways: a case's own backends, checked against the plain object and timed beside it like any
other.
"""

from __future__ import annotations

import pytest

from paritygate.backends import BACKENDS
from paritygate.core.budgets import BUDGETS
from paritygate.core.case import Case, Target
from paritygate.core.declaration import DeclarationError
from paritygate.core.record import Status
from paritygate.session.matrix import Matrix
from paritygate.session.options import Options

SOURCE = """
import torch

class Counter:
    "Counts the letters of words: no module, its inputs are texts."
    def __call__(self, words, letters):
        return torch.tensor([[word.count(letter) for letter in letters] for word in words])

    def facts(self):
        return {"language": "python"}

def counter(): return Counter()

def texts(sizes, generator):
    numbers = torch.randint(26, (sizes["batch"], 12), generator=generator)
    return ["".join(chr(97 + n) for n in row) for row in numbers.tolist()], "abc"

def by_bytes(plain):
    def count(words, letters):
        rows = torch.tensor([list(word.encode()) for word in words])
        return torch.stack([(rows == ord(letter)).sum(1) for letter in letters], 1)
    return count

def off_by_one(plain):
    return lambda words, letters: plain(words[::-1], letters)

def missing(plain):
    raise ImportError("needs the package counters: pip install counters")

def not_installed(plain):
    import counters_that_nobody_has

def misspelt(plain):
    from counting import by_bites

def misplaced(plain):
    import torch.counters

def not_here(plain):
    raise NotImplementedError("counts on a GPU only")

def nothing(plain):
    return None

def changing(plain):
    calls = []
    def count(words, letters):
        calls.append(1)
        return plain(words, letters) + (len(calls) > 8)
    return count

def linear(): return torch.nn.Linear(8, 4)

def numbers(sizes, generator): return (torch.randn(sizes["batch"], 8, generator=generator),)

def transposed(layer):
    weight, bias = layer.weight.t().contiguous(), layer.bias
    return lambda x: x @ weight + bias

def pruned(layer):
    layer.weight[0] = 0
    return layer

def lengths(words):
    return (torch.tensor([[float(len(word)) + n for n in range(8)] for word in words]),)

def word_list(sizes, generator):
    return (["x" * int(n) for n in torch.randint(1, 9, (sizes["batch"],), generator=generator)],)
"""


@pytest.fixture(scope="module", name="rig")
def _rig(shared):
    shared.module("counting", SOURCE)
    return shared


def case(name="letters", variants=("by_bytes",), **changes):
    return Case(
        name,
        **{
            "model": "counting:counter",
            "inputs": "counting:texts",
            "shapes": {"b8": {"batch": 8}},
            "reference": "eager",
            "targets": ("eager",),
            "variants": {variant: f"counting:{variant}" for variant in variants},
        }
        | changes,
    )


def test_another_implementation_agrees_and_is_timed_beside_the_plain_one(rig):
    records = rig.run(case(), "eager", "by_bytes", timed=True)

    assert [record.status for record in records.values()] == [Status.OK, Status.OK]
    assert all(record.measured for record in records.values())
    assert records["by_bytes"].speedup > 0
    assert records["by_bytes"].error == 0
    assert records["eager"].facts["language"] == "python"
    assert records["eager"].parameters is None


@pytest.mark.parametrize(
    ("variant", "status", "why"),
    [
        ("off_by_one", Status.PARITY_FAILED, "integers differ"),
        ("missing", Status.SKIPPED, "missing: needs the package counters: pip install counters"),
        (
            "not_installed",
            Status.SKIPPED,
            "not_installed: No module named 'counters_that_nobody_has'",
        ),
        ("not_here", Status.SKIPPED, "not_here: counts on a GPU only"),
        ("misspelt", Status.FAILED, "cannot import name 'by_bites' from 'counting'"),
        ("misplaced", Status.FAILED, "No module named 'torch.counters'"),
        ("nothing", Status.FAILED, 'variant "counting:nothing" returned a NoneType'),
    ],
)
def test_a_way_that_is_wrong_or_not_here_is_told(rig, variant, status, why):
    record = rig.one(case(variants=(variant,)), variant)

    assert (record.status, why in record.reason) == (status, True), record.reason


def test_an_answer_that_changes_while_timed_is_noticed(rig):
    record = rig.run(case(variants=("changing",)), "changing", timed=True)["changing"]

    assert record.status is Status.FAILED
    assert "wrong answer while timed" in record.reason


def test_a_way_gets_the_module_with_its_weights(rig):
    linear = {"model": "counting:linear", "inputs": "counting:numbers", "reference": "float64"}
    records = rig.run(
        case("layer", ("transposed", "pruned"), **linear), "eager", "transposed", "pruned"
    )

    assert records["transposed"].status is Status.OK
    assert records["transposed"].reference == "float64"
    assert records["pruned"].status is Status.PARITY_FAILED


def test_what_comes_before_the_model_is_part_of_every_call(rig):
    preprocessed = case(
        "words",
        (),
        model="counting:linear",
        inputs="counting:word_list",
        reference="float64",
        preprocess="counting:lengths",
        targets=("*",),
    )
    records = rig.run(preprocessed, "eager", "compile", "onnxruntime", timed=True)

    for record in records.values():
        assert record.status is Status.OK, record.reason
        assert record.measured


def matrix(chosen):
    return Matrix(Options(chosen, BUDGETS["quick"], True, 0, None, BACKENDS))


def test_ways_come_where_eager_is_chosen():
    chosen = [Target("cpu", backend, "fp32") for backend in ("eager", "compile")]
    cells = matrix(chosen).cells([case(variants=("by_bytes", "missing"))], timed=True)

    assert [cell.target.backend for cell in cells] == ["eager", "by_bytes", "missing"]
    assert matrix(chosen[1:]).cells([case()], timed=True) == []


def test_a_way_must_not_bear_the_name_of_a_backend():
    with pytest.raises(DeclarationError, match="its variant 'compile' bears the name of a backend"):
        matrix([Target("cpu", "eager", "fp32")]).cells([case(variants=("compile",))], timed=True)
