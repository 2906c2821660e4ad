"""Modes: what one call of a cell does with its model: answer, also give gradients, or take a
training step.

Lives in the worker. A backend makes the model's forward its own (``wrap``: compile it, say), the
mode is called, and so eager and ``torch.compile`` do the same work but for the forward and the
backward that follows from it.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn import functional

from paritygate.runtime.declared import resolve, told_of
from paritygate.runtime.nest import comparable, flatten, fresh, mapped
from paritygate.runtime.state import State
from paritygate.runtime.subject import call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paritygate.runtime.subject import BoundCase

Forward = Callable[..., Any]
Wrap = Callable[[Forward], Forward]

# steps whose losses are compared; an optimizer that forgets shows from the second one on
CURVE = 16
AUTOCAST = {"amp_fp16": torch.float16, "amp_bf16": torch.bfloat16}


class Mode(Protocol):
    """What is called and timed."""

    def context(self) -> AbstractContextManager[Any]:
        """Entered around everything that calls."""

    def __call__(self, inputs: Any, /) -> Any:
        """One call, on inputs as ``to_inputs`` gave them."""

    def to_inputs(self, inputs: Any) -> Any:
        """Inputs as the call takes them."""

    def to_tensors(self, raw: Any) -> list[torch.Tensor]:
        """The answer's tensors, in memory of their own."""

    def reset(self) -> None:
        """Back to the state before the first call."""

    @property
    def training(self) -> Training | None:
        """The mode itself where it takes training steps."""

    @property
    def remembers(self) -> bool:
        """Whether an answer depends on the calls before, unless ``reset``."""


def mode_of(
    subject: BoundCase, module: Any, wrap: Wrap = lambda forward: forward, exact: bool = False
) -> Mode:
    """The mode of a case over its model; ``exact``: of its float64 copy, for which nothing is
    cast.
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
    """The context in which a forward of the target's dtype runs."""
    dtype = AUTOCAST.get(subject.dtype_name)
    return nullcontext if dtype is None else lambda: torch.autocast(subject.device, dtype=dtype)


class Plain:
    """A callable that is no module: it sees to gradients by itself.

    ``state``: of a model whose answers depend on the calls before, what ``reset`` puts back.
    """

    state: State | None = None

    def __init__(self, function: Forward) -> None:
        self._function = function

    def context(self) -> AbstractContextManager[Any]:
        """Nothing."""
        return nullcontext()

    def __call__(self, inputs: Any, /) -> Any:
        """What the callable answers."""
        return call(self._function, inputs)

    def to_inputs(self, inputs: Any) -> Any:
        """The inputs as they are."""
        return inputs

    def to_tensors(self, raw: Any) -> list[torch.Tensor]:
        """Every tensor of the answer."""
        return comparable(raw)

    def reset(self) -> None:
        """The initial state, of a model that remembers."""
        if self.state is not None:
            self.state.restore()

    @property
    def training(self) -> Training | None:
        """None: it only answers."""
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
        """No gradients, and the target's autocast; once around all calls, since weights stay as
        they are.
        """
        with torch.inference_mode(), self._cast():
            yield


class Backward(Plain):
    """The forward, then the gradients of a fixed random projection of its answers.

    Of a projection, since the gradient of a plain sum can be zero: the sum of a softmax is always
    1.
    """

    def __init__(self, module: torch.nn.Module, forward: Forward, cast: Callable[[], Any]) -> None:
        super().__init__(forward)
        self._cast, self._parameters = (
            cast,
            [each for each in module.parameters() if each.requires_grad],
        )
        self._directions: list[torch.Tensor] = []

    def to_inputs(self, inputs: Any) -> Any:
        """The inputs with copies of the floating ones, leaves that gradients are asked for."""
        return mapped(inputs, lambda leaf: leaf.detach().clone().requires_grad_(), floating=True)

    def __call__(self, inputs: Any, /) -> Any:
        """The answers, then the gradients of inputs and parameters."""
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

    It depends on the steps before it, so an answer is one only after ``reset``.
    """

    def __init__(
        self, subject: BoundCase, module: torch.nn.Module, forward: Forward, cast: Callable[[], Any]
    ) -> None:
        super().__init__(forward)
        self._module, self._cast, self._device = module, cast, subject.device
        self._loss = resolve(subject.case.loss) if subject.case.loss else functional.cross_entropy
        assert subject.case.optimizer is not None  # a Case of this mode has one
        with told_of("optimizer", subject.case.optimizer):
            self._optimizer = resolve(subject.case.optimizer)(module.parameters())
        self._initial = {name: value.clone() for name, value in module.state_dict().items()}
        self._settings = copy.deepcopy(self._optimizer.state_dict())
        self._scaled = subject.dtype_name == "amp_fp16"  # small gradients would vanish in fp16
        self.reset()

    @property
    def training(self) -> Training:
        """Itself."""
        return self

    @property
    def remembers(self) -> bool:
        """True: a step follows from those before it."""
        return True

    def reset(self) -> None:
        """The initial weights, statistics and state, and an optimizer that remembers nothing."""
        super().reset()
        with torch.no_grad():
            for name, value in self._module.state_dict().items():
                value.copy_(self._initial[name])
        self._optimizer.load_state_dict(copy.deepcopy(self._settings))
        self._optimizer.zero_grad()
        self._scaler = torch.amp.GradScaler(self._device, enabled=self._scaled)

    def __call__(self, labelled: Any, /) -> torch.Tensor:
        """The loss of one step."""
        self._optimizer.zero_grad()
        loss = self._forward(labelled)
        self._scaler.scale(loss).backward()
        self._step()
        return loss.detach()

    def to_tensors(self, raw: Any) -> list[torch.Tensor]:
        """The loss and the gradients, in the order of the parameters."""
        return comparable([raw, *(parameter.grad for parameter in self._module.parameters())])

    def curve(
        self, labelled: Sequence[Any], done: Callable[[], object] = bool
    ) -> list[torch.Tensor]:
        """The losses of the first steps over these batches in turn; and what batch norms have
        gathered by then.
        """
        self.reset()
        losses = []
        for step in range(CURVE):
            losses.append(self(labelled[step % len(labelled)]).double())
            done()
        found = comparable([torch.stack(losses), *_floating(list(self._module.buffers()))])
        self.reset()
        return found

    def parts(
        self, labelled: Any, clock: Callable[[], float], synchronize: Callable[[], None]
    ) -> dict[str, float]:
        """Seconds of forward with loss, backward, and optimizer: medians of some steps."""
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
        return {part: statistics.median(found) for part, found in seconds.items()}

    def learn(self, steps: Iterable[Any], inputs: Any) -> torch.Tensor:
        """The logits for some inputs after a whole training from the initial weights."""
        self.reset()
        for labelled in steps:
            self(labelled)
        with ExitStack() as stack:  # the module itself: in eval() it would be compiled once more
            stack.callback(self._module.train)
            stack.enter_context(torch.no_grad())
            self._module.eval()
            (logits,) = comparable(call(self._module, inputs))
        return logits

    def _forward(self, labelled: Any) -> torch.Tensor:
        inputs, labels = labelled
        with self._cast():  # of every step anew: autocast remembers weights as they were
            loss: torch.Tensor = self._loss(flatten(call(self._function, inputs))[0], labels)
        return loss

    def _step(self) -> None:
        self._scaler.step(self._optimizer)
        self._scaler.update()


def answers(
    mode: Mode, sets: Sequence[Any], done: Callable[[], object] = bool
) -> list[list[torch.Tensor]]:
    """The mode's answers to copies of some input sets, each from the initial state, which it is
    left in.
    """
    found = []
    with mode.context():
        for inputs in sets:
            found.append(mode.to_tensors(mode(mode.to_inputs(fresh(inputs)))))
            mode.reset()
            done()
    return found


def reordered(labelled: Any, batch: int) -> Any:
    """The same batch with its rows in reverse: the same training but for rounding."""
    return mapped(
        labelled, lambda leaf: leaf.flip(0) if leaf.ndim and leaf.shape[0] == batch else leaf
    )


def _floating(leaves: Sequence[Any]) -> list[torch.Tensor]:
    return [leaf for leaf in leaves if _floats(leaf)]


def _floats(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.is_floating_point()


def _direction(answer: torch.Tensor, number: int) -> torch.Tensor:
    """What an answer is projected on; the same in every dtype, process and on every device."""
    generator = torch.Generator().manual_seed(number)
    return torch.randn(answer.shape, generator=generator).to(answer.device, answer.dtype)
