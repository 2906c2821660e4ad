"""The files between a reference worker and its cells: what went in comes out; a wrong model is
refused.
"""

import numpy as np
import pytest
import torch
from torch import nn

from paritygate.runtime.scratch import Scratch


@pytest.fixture
def scratch(tmp_path):
    return Scratch(tmp_path / "group")


def test_nests_of_tensors_and_plain_values_come_back(scratch):
    kept = [
        {
            "x": torch.arange(3),
            "n": 2,
            "deep": (torch.ones(2, dtype=torch.bfloat16), None, "word", 0.5),
        }
    ]
    scratch.save("inputs", kept)
    (back,) = scratch.load("inputs")
    assert torch.equal(back["x"], kept[0]["x"])
    assert back["deep"][0].dtype == torch.bfloat16
    assert (back["n"], back["deep"][1:]) == (2, (None, "word", 0.5))


def test_answers_come_back_in_order_also_beyond_ten(scratch):
    sets = [[np.full(2, 100 * s + o) for o in range(12)] for s in range(11)]
    scratch.save_answers("eager", sets)
    back = scratch.load_answers("eager")
    assert [[int(array[0]) for array in outputs] for outputs in back] == [
        [100 * s + o for o in range(12)] for s in range(11)
    ]
    assert scratch.load_answers("reference") is None


class Odd(nn.Module):
    """Weights of every kind: bf16, integers, empty, transposed, a scalar, two names for one."""

    def __init__(self):
        super().__init__()
        self.short = nn.Parameter(torch.randn(3, 2).bfloat16())
        self.steps = nn.Buffer(torch.tensor(3))
        self.none = nn.Parameter(torch.empty(0, 4))
        self.turned = nn.Parameter(torch.randn(4, 3).t())
        self.flags = nn.Buffer(torch.tensor([True, False]))
        self.first = nn.Linear(2, 2)
        self.second = self.first


def test_weights_of_every_kind_come_back_bit_by_bit(scratch):
    ours, theirs = Odd(), Odd()
    scratch.save_weights(ours.state_dict())
    for part in theirs.state_dict().values():
        part.zero_()
    scratch.load_weights(theirs.requires_grad_(False))
    for name, tensor in ours.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], tensor), name
    assert not theirs.turned.is_contiguous()


def test_the_digest_is_of_names_dtypes_shapes_and_every_bit(scratch):
    state = {"a": torch.zeros(4), "b": torch.ones(2, 3)}
    first = scratch.save_weights(state)
    assert scratch.save_weights({name: tensor.clone() for name, tensor in state.items()}) == first
    flipped = state["a"].clone()
    flipped[2] = -0.0
    others = [
        state | {"a": flipped},
        state | {"b": torch.ones(3, 2)},
        state | {"a": torch.zeros(4, dtype=torch.int32)},
        {"c": state["a"], "b": state["b"]},
    ]
    assert len({first, *map(scratch.save_weights, others)}) == 5


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: nn.Linear(3, 3), ["weight is torch.float32 [3, 3], was torch.float32 [3, 2]"]),
        (lambda: nn.Linear(2, 3).half(), ["weight is torch.float16 [3, 2]"]),
        (lambda: nn.Linear(2, 3, bias=False), ["other weights than before: bias"]),
    ],
)
def test_a_model_with_other_weights_is_refused_and_the_first_is_named(scratch, model, words):
    scratch.save_weights(nn.Linear(2, 3).state_dict())
    with pytest.raises(ValueError) as refused:
        scratch.load_weights(model().requires_grad_(False))
    for word in words:
        assert word in str(refused.value)


def test_facts_of_an_artefact_come_back(scratch):
    scratch.save_artefact("onnxruntime", {"path": "x", "inputs": [0, 2]})
    assert scratch.artefact("onnxruntime") == {"path": "x", "inputs": [0, 2]}
