"""Modes: a step is what PyTorch's own loop does, it can be begun anew, and gradients are those of
autograd.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from models import mlp
from models.attention import multi_head
from models.training import flat_batch
from paritygate.runtime.modes import (
    CURVE,
    Backward,
    Inference,
    Plain,
    Training,
    answers,
    mode_of,
    reordered,
)

SIZES = {"batch": 8}


def subject(mode="training", optimizer="sgd_momentum", dtype="fp32", **changes):
    case = {"mode": mode, "optimizer": f"models.training:{optimizer}", "loss": None} | changes
    return SimpleNamespace(
        case=SimpleNamespace(**case), device="cpu", dtype_name=dtype, remembered=()
    )


def batches(count=3):
    return [flat_batch(SIZES, torch.Generator().manual_seed(number)) for number in range(count)]


@pytest.fixture(name="model")
def _model():
    torch.manual_seed(0)
    return mlp.MLP()


@pytest.mark.parametrize("optimizer", ["sgd", "sgd_momentum", "adam", "adamw"])
def test_a_curve_is_that_of_a_hand_written_loop(model, optimizer):
    twin, before = copy.deepcopy(model), copy.deepcopy(model)
    kinds = {
        "sgd": torch.optim.SGD(twin.parameters(), lr=0.01),
        "sgd_momentum": torch.optim.SGD(twin.parameters(), lr=0.01, momentum=0.9),
        "adam": torch.optim.Adam(twin.parameters(), lr=5e-5),
        "adamw": torch.optim.AdamW(twin.parameters(), lr=5e-5),
    }
    by_hand = []
    for step in range(CURVE):
        (images,), labels = batches()[step % 3]
        kinds[optimizer].zero_grad()
        loss = functional.cross_entropy(twin(images), labels)
        loss.backward()
        kinds[optimizer].step()
        by_hand.append(loss.item())

    (losses,) = mode_of(subject(optimizer=optimizer), model).loss_curve(batches())

    assert losses.tolist() == by_hand
    for ours, theirs in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(ours, theirs)  # it is left as it was


def test_an_answer_is_the_loss_and_every_gradient_from_the_initial_weights(model):
    mode = mode_of(subject(), model)
    first, second = answers(mode, [batches()[0]] * 2)

    assert [t.shape for t in first] == [torch.Size([]), *(p.shape for p in model.parameters())]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(t.abs().max() > 0 for t in first)


def test_reset_forgets_weights_momentum_and_statistics():
    torch.manual_seed(0)
    module = torch.nn.Sequential(mlp.MLP(), torch.nn.BatchNorm1d(10))
    mode = mode_of(subject(), module)
    before = copy.deepcopy(module.state_dict())
    curve = mode.loss_curve(batches())
    for batch in batches():
        mode(batch)
    after = module.state_dict()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    mode.reset()

    assert {"0.fc1.weight", "1.running_mean", "1.num_batches_tracked"} <= set(moved)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    again = mode.loss_curve(batches())
    assert all(torch.equal(a, b) for a, b in zip(curve, again, strict=True))
    # what the batch norm gathered
    assert [t.shape for t in curve[1:]] == [
        torch.Size([10]),
        torch.Size([10]),
    ]


def test_parts_are_forward_backward_and_optimizer(model):
    ticks = iter(range(1000))
    found = mode_of(subject(), model).parts(batches()[0], lambda: next(ticks), lambda: None)

    assert found == {"forward": 1, "backward": 1, "optimizer": 1}


def test_rows_in_reverse_are_the_same_training_but_for_rounding(model):
    mode = mode_of(subject(), copy.deepcopy(model).double())
    doubled = [((images.double(),), labels) for (images,), labels in batches()]
    turned = [reordered(batch, 8) for batch in doubled]

    assert torch.equal(turned[0][1], batches()[0][1].flip(0))
    (one,), (two,) = mode.loss_curve(doubled), mode.loss_curve(turned)
    assert one.tolist() == pytest.approx(two.tolist(), rel=1e-12)


def test_what_was_learnt_is_judged_in_inference_mode_of_the_module(model):
    module = torch.nn.Sequential(model, torch.nn.Dropout(0.5))
    mode = mode_of(subject(), module)
    inputs = batches()[0][0]
    one, two = (mode.learn(iter(batches(1) * 20), inputs) for _ in range(2))

    assert one.shape == (8, 10)
    assert module.training
    assert not torch.equal(one, two)  # dropout was on while it learnt ...
    with torch.no_grad():
        assert torch.equal(two, model(*inputs))  # ... and off when it was asked


def test_gradients_are_those_of_a_projection_of_the_answers():
    torch.manual_seed(0)
    layer, x = multi_head().requires_grad_(), torch.randn(2, 5, 256)
    mode = mode_of(subject("backward"), layer)
    (found,) = answers(mode, [(x,)])
    output, grad_x, *grads = found
    step = 1e-2 * torch.randn(x.shape)
    exact, moved = layer.double(), (x + step).double()
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        change = ((exact(moved) - exact((x - step).double())) * direction).sum() / 2

    assert float((grad_x * step).sum()) == pytest.approx(float(change), rel=1e-3)
    assert len(grads) == len(list(layer.parameters()))
    assert not x.requires_grad  # the inputs are left as they are


@pytest.mark.parametrize(
    ("mode", "kind"), [("inference", Inference), ("backward", Backward), ("training", Training)]
)
def test_a_case_gets_its_mode(model, mode, kind):
    assert isinstance(mode_of(subject(mode), model), kind)
    assert isinstance(mode_of(subject(), lambda x: x), Plain)


def test_autocast_is_of_the_target_and_not_of_its_reference(model):
    inputs = batches()[0][0]
    of_case = subject("inference", dtype="amp_bf16")
    (fast,), (exact,) = (
        answers(mode_of(of_case, model, exact=exact), [inputs]) for exact in (False, True)
    )

    assert (fast[0].dtype, exact[0].dtype) == (torch.bfloat16, torch.float32)


def test_training_under_autocast_keeps_weights_and_gradients_whole(model):
    loss, *grads = answers(mode_of(subject(dtype="amp_bf16"), model), [batches()[0]])[0]
    exact, *exact_grads = answers(
        mode_of(subject(dtype="amp_bf16"), model, exact=True), [batches()[0]]
    )[0]

    assert {t.dtype for t in grads} == {torch.float32}
    assert 0 < abs(float(loss - exact)) < 1e-2 * float(exact)
    for one, other in zip(grads, exact_grads, strict=True):
        assert 0 < float((one - other).norm() / other.norm()) < 5e-2


def test_losses_of_fp16_are_scaled_and_gradients_are_not(model):
    """On a CPU as well: what is scaled must be scaled back, whatever the device."""
    loss, *grads = answers(mode_of(subject(dtype="amp_fp16"), model), [batches()[0]])[0]
    exact, *exact_grads = answers(
        mode_of(subject(dtype="amp_fp16"), model, exact=True), [batches()[0]]
    )[0]

    assert float(loss) == pytest.approx(float(exact), rel=1e-2)
    for one, other in zip(grads, exact_grads, strict=True):
        assert float((one - other).norm() / other.norm()) < 5e-2
