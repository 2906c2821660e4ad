"""A backend for tests: eager with one fault, planted by the name that the backend goes by. See
``FAULTS``.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from paritygate.backends import Backend, PreparedModel, eager

if TYPE_CHECKING:
    from torch import Tensor, nn

    from paritygate.core.case import Target
    from paritygate.runtime.subject import BoundCase

Spoil = Callable[["nn.Module"], object]


def available(_target: Target) -> str | None:
    return None


def preload() -> None:
    pass


def prepare(subject: BoundCase) -> PreparedModel:
    return FAULTS[subject.backend](subject)


# -- faults of the model


def in_model(spoil: Spoil) -> Callable[[BoundCase], PreparedModel]:
    """Eager on a model that was changed after its weights were loaded."""

    def planted(subject: BoundCase) -> PreparedModel:
        import torch

        module = subject.module()
        with torch.no_grad():
            spoil(module)
        subject.__dict__["module"] = lambda: module
        return eager.prepare(subject)

    return planted


def last_weight(module: nn.Module) -> None:
    *_, last = (part for part in module.modules() if getattr(part, "weight", None) is not None)
    last.weight.data[0, 0] += 1e-3


def other_side(module: nn.Module) -> None:
    """The gradient of ``clamp`` at its edge is 1, that of ``relu`` 0."""
    module.edge = lambda x: x.clamp(min=0.0)


def query_weight(module: nn.Module) -> None:
    next(part for name, part in module.named_modules() if name.endswith("query")).weight[0, 0] += (
        1e-3
    )


def swapped_classes(module: nn.Module) -> None:
    *_, last = (part for part in module.modules() if getattr(part, "weight", None) is not None)
    order = [1, 0, *range(2, len(last.bias))]
    last.weight.copy_(last.weight[order])
    last.bias.copy_(last.bias[order])


def layer_norm_eps(module: nn.Module) -> None:
    for part in module.modules():
        if type(part).__name__ == "LayerNorm":
            assert part.eps == 1e-12
            part.eps = 1e-5


def fp16_inside(module: nn.Module) -> None:
    middle = next(
        part
        for name, part in module.named_modules()
        if name.endswith(("layer.0.output", "hidden", "conv2"))
    )
    middle.register_forward_hook(lambda *args: args[2].half().float())


def dropout_on(module: nn.Module) -> None:
    """Before the last layer: the models here have none of their own, or one of rate 0."""
    import torch

    *_, last = (part for part in module.modules() if getattr(part, "weight", None) is not None)
    last.register_forward_pre_hook(
        lambda _, args: torch.nn.functional.dropout(args[0], 0.1, training=True)
    )


# -- faults of inputs and answers


def mask_ignored(subject: BoundCase) -> PreparedModel:
    import torch

    prepared = eager.prepare(subject)
    prepared.to_inputs = lambda inputs: (
        inputs | {"attention_mask": torch.ones_like(inputs["attention_mask"])}
    )
    return prepared


def in_answer(
    spoil: Callable[[Tensor, Any], object], output: int = 0
) -> Callable[[BoundCase], PreparedModel]:
    """Eager with one output changed in place; ``spoil`` sees the inputs of the call, too."""

    def planted(subject: BoundCase) -> PreparedModel:
        prepared = eager.prepare(subject)
        call, read = prepared.call, prepared.to_tensors
        fed: list[Any] = []

        def kept(inputs: Any) -> Any:
            fed[:] = [inputs]
            return call(inputs)

        def spoiled(raw: Any) -> list[Tensor]:
            outputs = read(raw)
            spoil(outputs[output], fed[0])
            return outputs

        prepared.call, prepared.to_tensors = kept, spoiled
        return prepared

    return planted


def off_in_one(output: Tensor, _: Any) -> None:
    output.view(-1)[3] += 0.01


def scribbling(subject: BoundCase) -> PreparedModel:
    """Right, but its inputs are used up."""
    prepared = eager.prepare(subject)
    call = prepared.call

    def scribble(inputs: Any) -> Any:
        answer = call(inputs)
        inputs[0].zero_()
        return answer

    prepared.call = scribble
    return prepared


def nan(output: Tensor, _: Any) -> None:
    output.view(-1)[5 % output.numel()] = float("nan")


def one_element(output: Tensor, _: Any) -> None:
    """Hidden by the norm: one among a million, off by little in fp32 and by 0.2 in the short
    dtypes.
    """
    flat = output.view(-1)
    flat[1234] += 5e-5 if flat.dtype.itemsize == 4 else 0.2


def another_dtype(subject: BoundCase) -> PreparedModel:
    prepared = eager.prepare(subject)
    read = prepared.to_tensors
    prepared.to_tensors = lambda raw: [output.double() for output in read(raw)]
    return prepared


def another_count(subject: BoundCase) -> PreparedModel:
    prepared = eager.prepare(subject)
    read = prepared.to_tensors
    prepared.to_tensors = lambda raw: [*read(raw), *read(raw)]
    return prepared


def stale(subject: BoundCase) -> PreparedModel:
    """Once it was checked it answers with what it answered last: a graph replayed without new
    inputs.
    """
    prepared = eager.prepare(subject)
    call = prepared.call
    answers: list[Any] = []
    honest = len(subject.inputs()) + 2  # the checked sets, and the calls that collect evidence

    def replay(inputs: Any) -> Any:
        if len(answers) < honest:
            answers.append(call(inputs))
        return answers[-1]

    prepared.call = replay
    return prepared


def shared_buffer(subject: BoundCase) -> PreparedModel:
    """Every answer in the same memory, and ``read`` makes no copy of it."""
    prepared = eager.prepare(subject)
    call = prepared.call
    buffer: list[Tensor] = []

    def into_buffer(inputs: Any) -> Tensor:
        answer = call(inputs)
        buffer.append(answer.clone()) if not buffer else buffer[0].copy_(answer)
        return buffer[0]

    prepared.call, prepared.to_tensors = into_buffer, lambda raw: [raw]
    return prepared


# -- faults of a training


def gradient_scaled(module: nn.Module) -> None:
    """By 1 %, of one parameter."""
    next(module.parameters()).register_hook(lambda gradient: 1.01 * gradient)


def without_momentum(subject: BoundCase) -> PreparedModel:
    subject.case = dataclasses.replace(subject.case, optimizer="models.training:sgd")
    return eager.prepare(subject)


def labels_shifted(subject: BoundCase) -> PreparedModel:
    """Every sample is learnt with the label of the one before."""
    prepared = eager.prepare(subject)
    prepared.to_inputs = lambda labelled: (labelled[0], labelled[1].roll(1))
    return prepared


def leaking(subject: BoundCase) -> PreparedModel:
    """Keeps every loss, as code does that sums them up without ``detach``."""
    prepared = eager.prepare(subject)
    call, kept = prepared.call, []

    def keep(inputs: Any) -> Any:
        kept.append(call(inputs))
        return kept[-1]

    prepared.call = keep
    return prepared


def forgetful_optimizer(subject: BoundCase) -> PreparedModel:
    """Right in every single step, but its optimizer begins anew with each: only a curve shows
    that.
    """
    prepared = eager.prepare(subject)
    training = prepared.training
    assert training is not None
    curve = training.loss_curve

    def forgetting(batches: Any, *done: Any) -> Any:
        optimizer = training._optimizer
        plain = optimizer.step

        def step(*arguments: Any) -> Any:
            optimizer.state.clear()
            return plain(*arguments)

        optimizer.step = step
        return curve(batches, *done)

    vars(training)["loss_curve"] = forgetting
    return prepared


# -- faults of the process


def when_called(act: Callable[[], object]) -> Callable[[BoundCase], PreparedModel]:
    def planted(subject: BoundCase) -> PreparedModel:
        prepared = eager.prepare(subject)
        prepared.call = lambda inputs: act()
        return prepared

    return planted


def fall(number: int) -> Callable[[], object]:
    def now() -> None:
        print(f"last words before {number}", file=sys.stderr, flush=True)
        os.kill(os.getpid(), number)

    return now


def leave() -> None:
    print("leaving", flush=True)
    os._exit(3)


def hang() -> None:
    while True:
        signal.pause()


def refuse() -> None:
    raise ZeroDivisionError("I would rather not")


def hog() -> None:
    """Past the limit in steps that each would be allowed."""
    import torch

    held = []
    while True:
        held.append(torch.empty(1 << 26))


def hungry(subject: BoundCase) -> PreparedModel:
    """200 MiB more than it needs."""
    import torch

    subject.__dict__["kept"] = torch.ones(200 << 18)
    return eager.prepare(subject)


def falls_when_timed(subject: BoundCase) -> PreparedModel:
    prepared = eager.prepare(subject)
    vars(prepared)["steady_context"] = fall(signal.SIGSEGV)
    return prepared


def hangs_when_timed(subject: BoundCase) -> PreparedModel:
    prepared = eager.prepare(subject)
    vars(prepared)["steady_context"] = hang
    return prepared


# -- faults of other backends


def meddling(subject: BoundCase) -> PreparedModel:
    import torch

    torch.set_float32_matmul_precision("medium")
    return eager.prepare(subject)


def recompiling(subject: BoundCase) -> PreparedModel:
    """``torch.compile`` of ``specimens.Switch``, switched before the first block."""
    from paritygate.backends import compiled
    from tests.support import specimens

    prepared = compiled.prepare(dataclasses.replace(subject, backend="compile"))
    steady = prepared.steady_context

    def switched() -> Any:
        specimens.SCALE = 2
        return steady()

    prepared.steady_context = switched
    return prepared


def session_that(**answers: Any) -> Callable[[BoundCase], PreparedModel]:
    """Onnxruntime whose session answers otherwise; needs an onnxruntime cell in the group for its
    file.
    """

    def planted(subject: BoundCase) -> PreparedModel:
        import onnxruntime

        from paritygate.backends import onnxruntime as backend

        subject.backend = "onnxruntime"  # whose file it takes
        changed = {name: lambda self, answer=answer: answer for name, answer in answers.items()}
        onnxruntime.InferenceSession = type("Session", (onnxruntime.InferenceSession,), changed)
        return backend.prepare(subject)

    return planted


NODE_ELSEWHERE = SimpleNamespace(ep_name="SomeOtherProvider", get_nodes=lambda: ["MatMul"])

FAULTS: dict[str, Callable[[Any], PreparedModel]] = {
    "twin": eager.prepare,  # no fault at all
    "last_weight": in_model(last_weight),
    "other_side": in_model(other_side),
    "query_weight": in_model(query_weight),
    "swapped_classes": in_model(swapped_classes),
    "layer_norm_eps": in_model(layer_norm_eps),
    "fp16_inside": in_model(fp16_inside),
    "dropout_on": in_model(dropout_on),
    "mask_ignored": mask_ignored,
    "nan": in_answer(nan),
    "one_element": in_answer(one_element),
    "scribbling": scribbling,
    "wrong_padding": in_answer(
        lambda tags, fed: tags.masked_fill_(fed["mask"][..., None] == 0, 7.0)
    ),
    "wrong_token": in_answer(lambda tags, _: tags[0, -1].add_(0.01)),
    "wrong_first": in_answer(off_in_one),
    "wrong_second": in_answer(off_in_one, output=1),
    "another_dtype": another_dtype,
    "another_count": another_count,
    "stale": stale,
    "gradient_scaled": in_model(gradient_scaled),
    "without_momentum": without_momentum,
    "labels_shifted": labels_shifted,
    "forgetful_optimizer": forgetful_optimizer,
    "leaking": leaking,
    "shared_buffer": shared_buffer,
    "segfault": when_called(fall(signal.SIGSEGV)),
    "killed": when_called(fall(signal.SIGKILL)),
    "left": when_called(leave),
    "hung": when_called(hang),
    "refused": when_called(refuse),
    "hog": when_called(hog),
    "hungry": hungry,
    "falls_when_timed": falls_when_timed,
    "hangs_when_timed": hangs_when_timed,
    "meddling": meddling,
    "recompiling": recompiling,
    "other_provider": session_that(get_providers=["SomeOtherProvider", "CPUExecutionProvider"]),
    "other_node": session_that(get_provider_graph_assignment_info=[NODE_ELSEWHERE]),
}
BACKENDS = {name: Backend(name, __name__) for name in FAULTS}
BACKENDS["falls_when_exported"] = Backend("falls_when_exported", __name__, artefact=True)


def artefact(_subject: BoundCase) -> dict[str, Any]:
    """An exporter that ends its process."""
    fall(signal.SIGSEGV)()
    return {}
