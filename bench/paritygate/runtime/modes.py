"""Modes: the work of one call: the answer alone, the answer and gradients, or a training step.

Used in the reference worker and in workers. A backend replaces the model's forward (``wrap``: e.g.
compile it) and the mode calls it. So eager and ``torch.compile`` do the same work, except for the
forward and the backward that follows from it.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn import functional

from paritygate.runtime.declared import error_note, resolve
from paritygate.runtime.nest import comparable, flatten, fresh, mapped
from paritygate.runtime.state import State
from paritygate.runtime.subject import call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paritygate.runtime.subject import BoundCase

Forward = Callable[..., Any]
Wrap = Callable[[Forward], Forward]

# steps whose losses are compared; an optimizer that loses its state shows from the second one on
CURVE = 16
AUTOCAST = {"amp_fp16": torch.float16, "amp_bf16": torch.bfloat16}


class Mode(Protocol):
    """The callable that is checked and timed."""

    def context(self) -> AbstractContextManager[Any]:
        """Return the context for all calls."""

    def __call__(self, inputs: Any, /) -> Any:
        """Run one call, on inputs that ``to_inputs`` made."""

    def to_inputs(self, inputs: Any) -> Any:
        """Return the inputs in the form that the call takes."""

    def to_tensors(self, raw: Any) -> list[torch.Tensor]:
        """Return the answer's tensors, in memory of their own."""

    def reset(self) -> None:
        """Restore the state before the first call."""

    @property
    def training(self) -> Training | None:
        """The mode itself if it takes training steps, else None."""

    @property
    def remembers(self) -> bool:
        """Whether an answer depends on earlier calls, unless ``reset`` is called."""


def mode_of(
    subject: BoundCase, module: Any, wrap: Wrap = lambda forward: forward, exact: bool = False
) -> Mode:
    """Return the mode of a case over its model. ``exact``: the model is the float64 copy, for which
    nothing is cast.
    """
    forward = wrap(module)
    cast = nullcontext if exact else autocast(subject)
    if not isinstance(module, torch.nn.Module):
        return Plain(forward)
    made: Plain
    if subject.case.mode == "training":
        made = Training(subject, module, forward, cast)
    else:
        made = (Backward if subject.case.mode == "backward" else Inference)(module, forward, cast)
    if subject.remembered:
        made.state = State(module, only=subject.remembered)
    return made


def autocast(subject: BoundCase) -> Callable[[], AbstractContextManager[Any]]:
    """Return the context in which a forward of the target's dtype runs."""
    dtype = AUTOCAST.get(subject.dtype_name)
    return nullcontext if dtype is None else lambda: torch.autocast(subject.device, dtype=dtype)


class Plain:
    """A callable that is no module. It handles gradients by itself.

    ``state``: for a model whose answers depend on earlier calls, the state that ``reset`` restores.
    """

    state: State | None = None

    def __init__(self, function: Forward) -> None:
        self._function = function

    def context(self) -> AbstractContextManager[Any]:
        """Return an empty context."""
        return nullcontext()

    def __call__(self, inputs: Any, /) -> Any:
        """Return the answer of the callable."""
        return call(self._function, inputs)

    def to_inputs(self, inputs: Any) -> Any:
        """Return the inputs unchanged."""
        return inputs

    def to_tensors(self, raw: Any) -> list[torch.Tensor]:
        """Return every tensor of the answer."""
        return comparable(raw)

    def reset(self) -> None:
        """Restore the initial state of a model that has one."""
        if self.state is not None:
            self.state.restore()

    @property
    def training(self) -> Training | None:
        """None: it takes no training steps."""
        return None

    @property
    def remembers(self) -> bool:
        """Whether the model has a state that a call changes."""
        return self.state is not None


class Inference(Plain):
    """The forward alone."""

    def __init__(self, _module: torch.nn.Module, forward: Forward, cast: Callable[[], Any]) -> None:
        super().__init__(forward)
        self._cast = cast

    @contextmanager
    def context(self) -> Iterator[None]:
        """Switch gradients off and the target's autocast on. One context covers all calls, since
        the weights do not change.
        """
        with torch.inference_mode(), self._cast():
            yield


class Backward(Plain):
    """The forward, then the gradients of a fixed random projection of its answers.

    A plain sum of the answers would not do: its gradient can be zero, e.g. the sum of a softmax is
    always 1.
    """

    def __init__(self, module: torch.nn.Module, forward: Forward, cast: Callable[[], Any]) -> None:
        super().__init__(forward)
        self._cast, self._parameters = (
            cast,
            [each for each in module.parameters() if each.requires_grad],
        )
        self._directions: list[torch.Tensor] = []

    def to_inputs(self, inputs: Any) -> Any:
        """Return the inputs with copies of the floating ones as leaves that require gradients."""
        return mapped(inputs, lambda leaf: leaf.detach().clone().requires_grad_(), floating=True)

    def __call__(self, inputs: Any, /) -> Any:
        """Return the answers, then the gradients of inputs and parameters."""
        with self._cast():
            outputs = flatten(super().__call__(inputs))
        answers = [output for output in _floating(outputs) if output.requires_grad]
        if not self._directions:
            self._directions = [_direction(answer, number) for number, answer in enumerate(answers)]
        wanted = [*_floating(flatten(inputs)), *self._parameters]
        return [
            *outputs,
            *torch.autograd.grad(answers, wanted, self._directions, allow_unused=True),
        ]


class Training(Plain):
    """One step: forward, loss, backward, optimizer. The answer is the loss, then every parameter's
    gradient.

    A step depends on the steps before it, so its answer can be compared only after ``reset``.
    """

    def __init__(
        self, subject: BoundCase, module: torch.nn.Module, forward: Forward, cast: Callable[[], Any]
    ) -> None:
        super().__init__(forward)
        self._module, self._cast, self._device = module, cast, subject.device
        self._loss = resolve(subject.case.loss) if subject.case.loss else functional.cross_entropy
        assert subject.case.optimizer is not None  # a Case of this mode has one
        with error_note("optimizer", subject.case.optimizer):
            self._optimizer = resolve(subject.case.optimizer)(module.parameters())
        self._initial = {name: value.clone() for name, value in module.state_dict().items()}
        self._settings = copy.deepcopy(self._optimizer.state_dict())
        self._scaled = subject.dtype_name == "amp_fp16"  # small gradients would vanish in fp16
        self.reset()

    @property
    def training(self) -> Training:
        """The mode itself."""
        return self

    @property
    def remembers(self) -> bool:
        """True: a step depends on the steps before it."""
        return True

    def reset(self) -> None:
        """Restore the initial weights, statistics and state, and the optimizer without its
        state.
        """
        super().reset()
        with torch.no_grad():
            for name, value in self._module.state_dict().items():
                value.copy_(self._initial[name])
        self._optimizer.load_state_dict(copy.deepcopy(self._settings))
        self._optimizer.zero_grad()
        self._scaler = torch.amp.GradScaler(self._device, enabled=self._scaled)

    def __call__(self, labelled: Any, /) -> torch.Tensor:
        """Return the loss of one step."""
        self._optimizer.zero_grad()
        loss = self._forward(labelled)
        self._scaler.scale(loss).backward()
        self._step()
        return loss.detach()

    def to_tensors(self, raw: Any) -> list[torch.Tensor]:
        """Return the loss and the gradients, in the order of the parameters."""
        return comparable([raw, *(parameter.grad for parameter in self._module.parameters())])

    def loss_curve(
        self, labelled: Sequence[Any], done: Callable[[], object] = bool
    ) -> list[torch.Tensor]:
        """Return the losses of the first ``CURVE`` steps over these batches in turn, and the
        buffers of batch norms after them.

        ``done`` is called after each step.
        """
        self.reset()
        losses = []
        for step in range(CURVE):
            losses.append(self(labelled[step % len(labelled)]).double())
            done()
        curve = comparable([torch.stack(losses), *_floating(list(self._module.buffers()))])
        self.reset()
        return curve

    def parts(
        self, labelled: Any, clock: Callable[[], float], synchronize: Callable[[], None]
    ) -> dict[str, float]:
        """Return the seconds of forward with loss, backward, and optimizer: medians over five
        steps.
        """
        seconds: dict[str, list[float]] = {"forward": [], "backward": [], "optimizer": []}
        for _ in range(5):
            self._optimizer.zero_grad()
            times = [clock()]
            loss = self._forward(labelled)
            synchronize()
            times.append(clock())
            self._scaler.scale(loss).backward()
            synchronize()
            times.append(clock())
            self._step()
            synchronize()
            times.append(clock())
            for part, start, end in zip(seconds, times, times[1:], strict=False):
                seconds[part].append(end - start)
        return {part: statistics.median(times_of_part) for part, times_of_part in seconds.items()}

    def learn(self, steps: Iterable[Any], inputs: Any) -> torch.Tensor:
        """Return the logits for some inputs after a whole training from the initial weights."""
        self.reset()
        for labelled in steps:
            self(labelled)
        # calls the module, not the forward, which would be compiled again
        with ExitStack() as stack:
            stack.callback(self._module.train)
            stack.enter_context(torch.no_grad())
            self._module.eval()
            (logits,) = comparable(call(self._module, inputs))
        return logits

    def _forward(self, labelled: Any) -> torch.Tensor:
        inputs, labels = labelled
        with self._cast():  # entered for every step: autocast caches casts of the old weights
            loss: torch.Tensor = self._loss(flatten(call(self._function, inputs))[0], labels)
        return loss

    def _step(self) -> None:
        self._scaler.step(self._optimizer)
        self._scaler.update()


def answers(
    mode: Mode, sets: Sequence[Any], done: Callable[[], object] = bool
) -> list[list[torch.Tensor]]:
    """Return the mode's answers to copies of some input sets, each from the initial state. The mode
    is left in that state.
    """
    outputs = []
    with mode.context():
        for inputs in sets:
            outputs.append(mode.to_tensors(mode(mode.to_inputs(fresh(inputs)))))
            mode.reset()
            done()
    return outputs


def reordered(labelled: Any, batch: int) -> Any:
    """Return the same batch with its rows in reverse: it gives the same training except for
    rounding.
    """
    return mapped(
        labelled, lambda leaf: leaf.flip(0) if leaf.ndim and leaf.shape[0] == batch else leaf
    )


def _floating(leaves: Sequence[Any]) -> list[torch.Tensor]:
    return [leaf for leaf in leaves if _floats(leaf)]


def _floats(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.is_floating_point()


def _direction(answer: torch.Tensor, number: int) -> torch.Tensor:
    """Return the tensor that an answer is projected on. It is the same in every dtype and process,
    and on every device.
    """
    generator = torch.Generator().manual_seed(number)
    return torch.randn(answer.shape, generator=generator).to(answer.device, answer.dtype)
