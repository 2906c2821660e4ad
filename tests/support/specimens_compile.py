"""Models that torch.compile breaks, compiles again and again, or does not take. Imported by
workers, too.

The line that is to be named ends with a mark, ``# here``; there is one in every class that needs
it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

TIMES = 0  # of ``GlobalCounter``


def marked(model: type | Callable[..., Any]) -> str:
    """The place in this file that is to be named, as file:line."""
    lines, first = inspect.getsourcelines(model)
    (line,) = (
        number for number, text in enumerate(lines, first) if text.rstrip().endswith("# here")
    )
    return f"tests/support/specimens_compile.py:{line}"


class Plain(nn.Module):
    """Nothing odd: (batch, 16) to (batch, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(x))


# -- graph breaks


class ByMean(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x)
        if y.mean() > 0:  # here
            y = y * 2
        return self.out(y)


class ByFirst(Plain):
    """Takes the one or the other branch by its input's first number."""

    def forward(self, x: Tensor) -> Tensor:
        if x[0, 0] > 0:  # here
            x = x * 2
        return super().forward(x)


class ByItem(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x)
        rounds = int((y > -100).sum().item() > 0)  # here
        for _ in range(rounds):
            y = y * 2
        return self.out(y)


class ByAny(Plain):
    """Looks for NaN, as many models do."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x)
        if torch.isnan(y).any():  # here
            raise ValueError("NaN")
        return self.out(y)


class ByWhile(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x).abs()
        while y.sum() < 1000:  # here
            y = y * 2
        return self.out(y)


class ByWhileInside(Plain):
    """The loop is in a function of its own, which torch tries to inline first."""

    def grow(self, y: Tensor) -> Tensor:
        while y.sum() < 1000:  # here
            y = y * 2
        return y

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.grow(self.hidden(x).abs()))


class Wrapped(nn.Module):
    """A break in a part of the model."""

    def __init__(self, part: type[nn.Module] = ByMean) -> None:
        super().__init__()
        self.part = part()

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x) + 1


class Explicit(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x).relu()
        torch._dynamo.graph_break()  # here
        return self.out(y)


class Printing(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x)
        print("shape", y.shape[0], end="")  # here
        return self.out(y)


class PartDisabled(Plain):
    @torch.compiler.disable
    def rest(self, y: Tensor) -> Tensor:
        return self.out(y)

    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x)
        z = self.rest(y)  # here
        return z * 2


class InContext(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x)
        with torch.no_grad():
            torch._dynamo.graph_break()  # here
            y = y + 1
        return self.out(y)


class InTry(Plain):
    """A place where torch cannot resume: all from the try on runs in eager."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x)
        y = y.relu()
        y = y + 1
        try:  # here
            if y.sum() > 0:
                y = y + 1
        except ValueError:
            pass
        return self.out(y)


class Block(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.into, self.back = nn.Linear(16, width), nn.Linear(width, 16)

    def forward(self, x: Tensor) -> Tensor:
        y = self.into(x)
        torch._dynamo.graph_break()  # here
        return self.back(y)


class Layers(nn.Module):
    """Blocks of several widths that share their function and its break: compiled once for each, in
    every call.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[Block(width) for width in (8, 16, 24)])

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class Looped(Layers):
    """The break is in a loop of the model, whose function then runs in eager as a whole; the blocks
    are compiled.
    """

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


# -- no break, and nothing wrong


class Asserting(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x)
        assert y.sum() < 1e9, "too much"
        return self.out(y)


class Generating(Plain):
    def parts(self, x: Tensor) -> Iterator[Tensor]:
        for number in range(2):
            yield self.hidden(x) + number

    def forward(self, x: Tensor) -> Tensor:
        return self.out(sum(self.parts(x)))


class Stateful(Plain):
    """Counts its calls in a tensor, which is no constant of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class Changing(Plain):
    """Writes into its input."""

    def forward(self, x: Tensor) -> Tensor:
        x.clamp_(-1, 1).mul_(0.5)
        return super().forward(x)


def halved(x: Tensor) -> tuple[Tensor]:
    """A preprocessing."""
    return (x * 0.5,)


# -- recompiles


class Counter(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1  # here
        return super().forward(x)


class Growing(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.log: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        self.log.append(1.0)  # here
        return super().forward(x)


class Decaying(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.scale = 1.0

    def forward(self, x: Tensor) -> Tensor:
        self.scale *= 0.5  # here
        return super().forward(x) + self.scale * 1e-9


class GlobalCounter(Plain):
    def forward(self, x: Tensor) -> Tensor:
        global TIMES
        TIMES += 1  # here
        return super().forward(x)


class Taken(Plain):
    """A number out of a tensor is a constant of the graph after it: another one with every
    input.
    """

    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x)
        return self.out(y) + y.sum().item() * 1e-9  # here


# -- what runs in eager as a whole


class BreakInLoop(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x)
        for _ in range(3):
            torch._dynamo.graph_break()  # here
            y = self.hidden(y)
        return self.out(y)


class BranchInLoop(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y, rounds = self.hidden(x), 0
        while rounds < 3:
            y = y - 1 if y.sum() > 0 else y + 1  # here
            rounds += 1
        return self.out(y)


@contextlib.contextmanager
def nothing() -> Iterator[None]:
    yield


class BreakInManager(Plain):
    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x)
        with nothing():
            print("", end="")  # here
            y = y + 1
        return self.out(y)


class Disabled(Plain):
    @torch.compiler.disable
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class DisabledAlone(Plain):
    """Runs in eager, what it calls is compiled."""

    def helper(self, x: Tensor) -> Tensor:
        return self.hidden(x).relu()

    @torch.compiler.disable(recursive=False)
    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.helper(x)) * 2


# -- functions that are decorated and compiled all the same


class NoGrad(Plain):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


def doubled(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @functools.wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Tensor:
        return forward(self, *args, **kwargs) * 2

    return wrapper


class Decorated(Plain):
    @doubled
    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(x))


class Called(Plain):
    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x) * 2


class Replaced(Plain):
    """As ``accelerate`` does it."""

    def __init__(self) -> None:
        super().__init__()
        old = self.forward
        self.__dict__["forward"] = functools.partial(lambda _, x: old(x) * 2, self)


class Hooked(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.register_forward_hook(lambda _module, _inputs, output: output * 2)


def traced_by_fx() -> nn.Module:
    return torch.fx.symbolic_trace(Plain())


def sequential() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))


# -- recurrent layers; inputs: (batch, length, 16)


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase] = nn.GRU, **options: Any) -> None:
        super().__init__()
        self.before, self.cell, self.out = (
            nn.Linear(16, 16),
            kind(16, 8, **options),
            nn.Linear(8, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(self.before(x))[0])  # here


class Encoder(nn.Module):
    def __init__(self, kind: type[nn.RNNBase] = nn.GRU, **options: Any) -> None:
        super().__init__()
        self.cell = kind(16, 16, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0]  # here


class WithEncoder(Plain):
    """The layers before and after the encoder are compiled."""

    def __init__(self, kind: type[nn.RNNBase] = nn.GRU, **options: Any) -> None:
        super().__init__()
        self.encoder = Encoder(kind, **options)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(self.hidden(x)))


def gru() -> nn.Module:
    return nn.GRU(16, 8, batch_first=True)


def allowed_gru() -> nn.Module:
    """As a user's module allows it."""
    torch._dynamo.config.allow_rnn = True
    return Recurrent(nn.GRU, batch_first=True)


# -- what is compiled already


def scripted() -> nn.Module:
    return torch.jit.script(Plain())


def traced() -> nn.Module:
    return torch.jit.trace(Plain(), torch.zeros(8, 16))


def optimized() -> nn.Module:
    return torch.compile(Plain(), backend="eager")


def compiled_in_place() -> nn.Module:
    module = Plain()
    module.compile(backend="eager")
    return module
