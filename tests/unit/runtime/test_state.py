"""What a model remembers from call to call is seen, named and put back; so is the drawing of random
numbers.
"""

from __future__ import annotations

import random
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn
from transformers import DynamicCache

from paritygate.runtime.state import Draws, State


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(2, 2)
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("past", None)
        self.register_buffer("scratch", torch.zeros(3), persistent=False)


class Model(nn.Module):
    """Everything that a model may remember by, in the model and in a part of it."""

    def __init__(self):
        super().__init__()
        self.part = Part()
        self.register_buffer("steps", torch.zeros(2, dtype=torch.long))
        self.calls, self.rate, self.name, self.on = 0, 1.0, "a", False
        self.log, self.queue, self.table, self.pair = [], deque(maxlen=2), {}, (1, [2])
        self.kept = torch.zeros(4)
        self.array = np.zeros(2)
        self.keys = None
        self.cache = DynamicCache()
        self.filled = DynamicCache()
        self.filled.update(torch.ones(1, 1, 2, 1), torch.ones(1, 1, 2, 1), 0)


def grow(cache):
    cache.update(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1), 0)


def shown(value):
    """A value as text, whatever it is made of."""
    if isinstance(value, DynamicCache):
        return f"cache {[layer.keys.tolist() for layer in value.layers]}"
    return repr(value)


CHANGES = {
    "attribute calls": lambda model: setattr(model, "calls", model.calls + 1),
    "attribute rate": lambda model: setattr(model, "rate", model.rate * 0.5),
    "attribute name": lambda model: setattr(model, "name", "b"),
    "attribute on": lambda model: setattr(model, "on", True),
    "attribute log": lambda model: model.log.append(torch.ones(2)),
    "attribute queue": lambda model: model.queue.append(3),
    "attribute table": lambda model: model.table.update(last=torch.ones(2)),
    "attribute pair": lambda model: model.pair[1].append(3),
    "attribute kept": lambda model: model.kept.add_(1),
    "attribute array": lambda model: model.array.fill(3),
    "attribute keys": lambda model: setattr(model, "keys", torch.ones(2)),
    "attribute cache": lambda model: grow(model.cache),
    "attribute filled": lambda model: grow(model.filled),
    "attribute new": lambda model: setattr(model, "new", torch.ones(2)),
    "attribute part.new": lambda model: setattr(model.part, "new", 3),
    "buffer steps": lambda model: model.steps.add_(1),
    "buffer part.mean": lambda model: setattr(model.part, "mean", torch.ones(5)),
    "buffer part.past": lambda model: setattr(model.part, "past", torch.ones(2)),
    "buffer part.scratch": lambda model: model.part.scratch.mul_(2).add_(1),
    "buffer part.late": lambda model: model.part.register_buffer("late", torch.ones(2)),
}


def find(model, what):
    owner, _, name = what.partition(" ")[2].rpartition(".")
    return getattr(model.get_submodule(owner), name, "there is none")


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("inference", [True, False])
def test_a_change_is_named_and_put_back_as_often_as_it_is_made(what, inference):
    model = Model()
    before = shown(find(model, what))
    state = State(model)
    assert state.changed() == []
    for _ in range(2):
        with torch.inference_mode(inference):
            CHANGES[what](model)
        assert state.changed() == [what]
        state.restore()
        assert state.changed() == []
        assert shown(find(model, what)) == before


@pytest.mark.parametrize("what", CHANGES)
def test_a_state_of_some_names_is_of_those_alone(what):
    model = Model()
    other = next(name for name in CHANGES if name != what)
    before = shown(find(model, what))
    state = State(model, only=(what,))
    CHANGES[what](model)
    CHANGES[other](model)
    changed_too = shown(find(model, other))

    state.restore()

    assert shown(find(model, what)) == before
    assert shown(find(model, other)) == changed_too, "nobody asked for it"
    assert state.changed() == []


def test_all_is_put_back_at_once():
    model = Model()
    before = {what: shown(find(model, what)) for what in CHANGES}
    state = State(model)
    for change in CHANGES.values():
        change(model)
    assert sorted(state.changed()) == sorted(CHANGES)
    state.restore()
    assert {what: shown(find(model, what)) for what in CHANGES} == before


def test_a_buffer_is_put_back_in_its_own_memory():
    """Where code that was compiled, or a view, looks for it."""
    model = Model()
    place, view = model.steps.data_ptr(), model.steps[:1]
    state = State(model)
    model.steps.add_(1)
    state.restore()
    assert (model.steps.data_ptr(), view.tolist()) == (place, [0])
    model.steps = torch.ones(2, dtype=torch.long)
    state.restore()
    assert model.steps.data_ptr() == place


def test_what_two_parts_share_they_share_afterwards():
    model = Model()
    model.part.log, model.part.cache = model.log, model.cache
    state = State(model)
    model.log.append(1)
    grow(model.cache)
    state.restore()
    assert model.part.log is model.log
    assert model.part.cache is model.cache
    assert (model.log, model.cache.get_seq_length()) == ([], 0)


def test_what_was_kept_is_not_written_to_by_calls_that_follow():
    model = Model()
    state = State(model)
    for _ in range(3):
        model.log.append(1)
        model.table["last"] = 2
        grow(model.filled)
        state.restore()
        assert (model.log, model.table, model.filled.get_seq_length()) == ([], {}, 2)


def test_nan_that_stays_is_no_change():
    model = Model()
    model.kept.fill_(float("nan"))
    model.rate = float("nan")
    state = State(model)
    assert state.changed() == []
    model.kept.fill_(0)
    assert state.changed() == ["attribute kept"]


@pytest.mark.parametrize("inference", [True, False])
def test_parameters_are_told_by_their_version(inference):
    model = Model()
    state = State(model)
    with torch.inference_mode(inference), torch.no_grad():
        model.part.lin.weight.mul_(1)
    assert state.changed() == ["parameter part.lin.weight"]


def test_a_parameter_that_was_replaced_is_told():
    model = Model()
    state = State(model)
    model.part.lin.bias = nn.Parameter(torch.zeros(2))
    assert state.changed() == ["parameter part.lin.bias"]


def test_parameters_made_in_inference_mode_are_told_when_replaced():
    with torch.inference_mode():
        model = Model()
    state = State(model)
    assert state.changed() == []
    model.part.lin.bias = nn.Parameter(torch.zeros(2))
    assert state.changed() == ["parameter part.lin.bias"]


def test_parts_functions_and_the_mode_are_no_state():
    model = Model()
    model.config, model.act, model.kind = Part, torch.relu, nn.Linear
    state = State(model)
    model.train(False)
    model.register_forward_hook(lambda *_: None)
    model.act = torch.tanh
    assert state.changed() == []


def test_a_lazy_model_is_looked_at_as_far_as_it_is_there():
    model = nn.Sequential(nn.LazyBatchNorm1d(), nn.LazyLinear(2))
    state = State(model)
    assert state.changed() == []
    state.restore()


class Summing(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = nn.Module()
        self.part.register_buffer("total", torch.zeros(2))

    def forward(self, x):
        self.part.total.add_(x)
        return self.part.total + x


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.jit.script(Summing()),
        lambda: torch.jit.trace(Summing(), torch.zeros(2), check_trace=False),
    ],
)
def test_of_torchscript_the_buffers_are_told_and_put_back(make):
    model = make()
    with torch.no_grad():
        dict(model.named_buffers())["part.total"].zero_()
    state = State(model)
    model(torch.ones(2))
    assert state.changed() == ["buffer part.total"]
    state.restore()
    assert (state.changed(), model(torch.ones(2)).tolist()) == ([], [2, 2])


def test_a_list_of_parameters_is_no_state_of_its_own():
    """As a recurrent layer keeps one: copies of them would no longer be what is trained."""
    model = nn.LSTM(2, 2)
    state = State(model)
    with torch.no_grad():
        model.weight_ih_l0.add_(1)
    assert state.changed() == ["parameter weight_ih_l0"]
    state.restore()
    assert model._flat_weights[0] is model.weight_ih_l0


class Unruly:
    """Refuses whatever is asked of it."""

    def __getattribute__(self, name):
        if name in ("__class__", "__reduce_ex__"):
            return object.__getattribute__(self, name)
        raise RuntimeError("not with me")

    def __deepcopy__(self, memo):
        raise RuntimeError("not with me")


def test_an_object_that_refuses_to_be_looked_at_is_left_alone():
    model = Model()
    model.unruly = Unruly()
    state = State(model)
    model.calls += 1
    assert state.changed() == ["attribute calls"]
    state.restore()
    assert model.calls == 0


# -- random numbers


@pytest.mark.parametrize(
    ("draw", "which"),
    [
        (lambda: torch.rand(1), "torch's"),
        (lambda: nn.functional.dropout(torch.ones(3)), "torch's"),
        (lambda: torch.randperm(4), "torch's"),
        (lambda: np.random.rand(), "numpy's"),
        (lambda: np.random.standard_normal(), "numpy's"),
        (lambda: random.random(), "random's"),
        (lambda: random.choice("ab"), "random's"),
        (lambda: None, ""),
        (lambda: torch.rand(1, generator=torch.Generator().manual_seed(1)), ""),
        (lambda: np.random.default_rng(0).random(), ""),
        (lambda: torch.ones(3).softmax(0), ""),
    ],
)
def test_the_generator_that_numbers_were_drawn_from_is_named(draw, which):
    draws = Draws()
    draw()
    assert draws.moved() == which
