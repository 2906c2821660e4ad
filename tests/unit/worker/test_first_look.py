"""Eager's first calls tell what a model writes to, what it remembers and draws, how long it
takes.
"""

from __future__ import annotations

import random
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from paritygate.runtime.modes import mode_of
from paritygate.worker.first_look import look, same


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(4, 4)
        self.register_buffer("past", torch.zeros(4))
        self.calls, self.log, self.keys = 0, [], None

    def forward(self, x):
        return self.mix(x)


class Remembering(Net):
    def forward(self, x):
        y = self.mix(x) + self.past
        self.past.add_(y.mean(0))
        return y


class Peaking(Net):
    """Remembers the largest of all: the same after the same inputs."""

    def forward(self, x):
        self.past = torch.maximum(self.past, x.abs().amax(0))
        return self.mix(x / self.past)


class Growing(Net):
    def forward(self, x):
        self.log.append(x.mean())
        return self.mix(x) * len(self.log)


class Caching(Net):
    def forward(self, x):
        self.keys = x if self.keys is None else torch.cat([self.keys, x])
        return self.mix(x) + self.keys.sum(0)


class Counting(Net):
    """Keeps count, and its answers do not depend on it."""

    def forward(self, x):
        self.calls += 1
        self.past.add_(1)
        return self.mix(x)


class Learning(Net):
    """Moves a parameter, which is not kept: nothing can put it back."""

    def forward(self, x):
        with torch.no_grad():
            self.mix.bias.add_(1)
        return self.mix(x)


class Noisy(Net):
    def forward(self, x):
        return self.mix(x) + torch.randn_like(x)


class Drawing(Net):
    """Draws, and its answers do not depend on it."""

    def forward(self, x):
        random.random()
        return self.mix(x)


class Both(Remembering):
    """Remembers and draws."""

    def forward(self, x):
        return super().forward(x) + float(np.random.rand())


HIDDEN: list[int] = []


class Hiding(Net):
    """Remembers where nobody looks."""

    def forward(self, x):
        HIDDEN.append(1)
        return self.mix(x) + len(HIDDEN)


class Writing(Net):
    def forward(self, x, table):
        x.clamp_(min=0)
        table["deep"][0] += 1
        return self.mix(x) + table["deep"][0]


class Slow(Net):
    """Takes long, the first time very long."""

    def forward(self, x):
        time.sleep(0.05 if self.calls else 0.3)
        self.calls += 1
        return self.mix(x)


def varies(seen):
    return not same(seen.answer, seen.again)


def looked(model, inputs=None, mode="inference", **case):
    torch.manual_seed(0)
    model = model()
    given = {"mode": mode, "loss": None, "optimizer": "models.training:sgd"} | case
    subject = SimpleNamespace(
        case=SimpleNamespace(**given), remembered=(), dtype_name="fp32", device="cpu", sizes={}
    )
    made = mode_of(subject, model.train(mode == "training"))
    return (
        look(made, model, inputs or (torch.randn(3, 4),), lambda: (9 * torch.randn(3, 4),)),
        made,
        model,
    )


def test_a_model_that_only_answers_has_nothing_to_be_told():
    seen, mode, _ = looked(Net)
    assert (seen.written, seen.changed, seen.remembered, seen.drew, varies(seen)) == (
        [],
        [],
        [],
        "",
        False,
    )
    assert seen.facts() == {}
    assert mode.state is None
    assert [tuple(output.shape) for output in seen.answer] == [(3, 4)]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (Remembering, "buffer past"),
        (Peaking, "buffer past"),
        (Growing, "attribute log"),
        (Caching, "attribute keys"),
    ],
)
def test_a_state_that_answers_depend_on_is_named_and_the_model_left_as_it_was(model, name):
    seen, mode, module = looked(model)
    assert (seen.changed, seen.remembered, varies(seen)) == ([name], [name], False)
    assert seen.facts() == {"state_changed": [name], "state": [name]}
    assert (module.past.tolist(), module.log, module.keys) == ([0] * 4, [], None)

    x = torch.randn(3, 4)
    with mode.context():
        first, second = mode.to_tensors(mode((x,))), mode.to_tensors(mode((x,)))
        mode.reset()
        again = mode.to_tensors(mode((x,)))
    assert same(first, again)
    assert same(first, second) == (model is Peaking)


def test_a_state_that_no_answer_depends_on_is_a_fact_alone():
    seen, mode, _ = looked(Counting)
    assert (seen.changed, seen.remembered, varies(seen)) == (
        ["buffer past", "attribute calls"],
        [],
        False,
    )
    assert seen.facts() == {"state_changed": ["buffer past", "attribute calls"]}
    assert mode.state is None


@pytest.mark.parametrize(
    ("model", "drew", "changed"),
    [
        (Noisy, "torch's", []),
        (Both, "numpy's", ["buffer past"]),
        (Hiding, "", []),
        (Learning, "", ["parameter mix.bias"]),
    ],
)
def test_answers_that_nothing_brings_back_vary(model, drew, changed):
    seen, mode, _ = looked(model)
    assert (seen.drew, seen.changed, seen.remembered, varies(seen)) == (drew, changed, [], True)
    assert mode.state is None


def test_drawing_without_consequences_is_a_fact():
    seen, _, _ = looked(Drawing)
    assert (seen.drew, varies(seen)) == ("random's", False)
    assert seen.facts() == {"draws_random_numbers": "random's"}


@pytest.mark.parametrize("mode", ["inference"])
def test_inputs_that_are_written_to_are_named_and_stay_as_they_are(mode):
    inputs = {"x": torch.randn(3, 4), "table": {"deep": [torch.ones(4)], "other": np.zeros(2)}}
    before = inputs["x"].clone()
    seen, _, _ = looked(Writing, inputs, mode)
    assert seen.written == ["x", "table.deep.0"]
    assert not varies(seen)
    assert seen.facts() == {"writes_inputs": ["x", "table.deep.0"]}
    assert torch.equal(inputs["x"], before)
    assert inputs["table"]["deep"][0].tolist() == [1] * 4


def test_the_first_call_does_not_count_for_the_time():
    seen, _, _ = looked(Slow)
    assert 0.05 <= seen.seconds < 0.25
    assert seen.remembered == []


def test_a_step_of_training_starts_from_the_same_weights():
    """And batch norms count as they do: a training puts back its own state."""
    labelled = ((torch.randn(6, 4),), torch.tensor([0, 1, 2, 3, 0, 1]))
    seen, _, module = looked(
        lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), labelled, "training"
    )
    assert (seen.changed, seen.remembered, varies(seen)) == ([], [], False)
    assert int(module[1].num_batches_tracked) == 0
    assert len(seen.answer) == 5, "the loss and four gradients"


def test_dropout_in_training_varies_and_draws():
    labelled = ((torch.randn(6, 4),), torch.tensor([0, 1, 2, 3, 0, 1]))
    seen, _, _ = looked(
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), labelled, "training"
    )
    assert (varies(seen), seen.drew) == (True, "torch's")


def test_of_a_function_answers_are_compared_and_nothing_else():
    subject = SimpleNamespace(
        case=SimpleNamespace(mode="inference"), remembered=(), dtype_name="fp32", device="cpu"
    )
    calls = []

    def function(x):
        calls.append(x)
        return x.add_(len(calls))

    seen = look(mode_of(subject, function), function, (torch.zeros(2),))
    assert (varies(seen), seen.written, seen.changed) == (True, ["0"], [])


def test_answers_are_the_same_when_their_bits_are_nan_being_itself():
    nan, one = torch.tensor([float("nan"), 1.0]), torch.ones(1)
    assert same([nan, one], [nan.clone(), one.clone()])
    assert not same([nan], [torch.tensor([0.0, 1.0])])
    assert not same([one], [one, one])
    assert not same([one], [one.double()])
