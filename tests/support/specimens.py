"""Models and inputs for tests of the harness: small, and each of them odd in one way. Imported by
workers only.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import torch
from torch import Tensor, nn

SCALE = 1  # of ``Switch``


def rows(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor]:
    return (torch.randn(sizes["batch"], 16, generator=generator),)


class Net(nn.Module):
    """Nothing odd: (batch, 16) to (batch, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(16, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Any:
        return self.out(self.hidden(x).relu())


class Wide(Net):
    """16 million weights: 64 MiB, so that memory can be told from noise."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(16, 4096), nn.Linear(4096, 4096)


class Forgetful(Net):
    """Dropout that ``eval()`` does not switch off."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(x), 0.1, training=True)


class Single(Net):
    """Cannot run in float64."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float64:
            raise TypeError("no kernel for Double")
        return super().forward(x)


class Casting(Net):
    """Answers in float32 whatever it is asked in."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


class Bloated(Net):
    """Has no room for float64."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float64:
            torch.empty(1 << 40, dtype=torch.uint8)
        return super().forward(x)


class Undefined(Net):
    """Answers NaN in one place."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        y[0, 0] = float("nan")
        return y


class Deaf(nn.Module):
    """Takes a mask and does not use it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(self, x: Tensor, mask: Tensor) -> Any:
        return self.net(x)


def rows_with_mask(sizes: dict[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    (x,) = rows(sizes, generator)
    return {"x": x, "mask": (torch.rand(sizes["batch"], 4, generator=generator) > 0.3).long()}


class Counting(Net):
    """Answers with logits and with the class, an integer."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = super().forward(x)
        return y, y.argmax(1)


class Silent(Net):
    """Answers with nothing."""

    def forward(self, x: Tensor) -> None:
        return None


class Breaks(Net):
    """Breaks its graph once under ``torch.compile``."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.hidden(x).relu()
        torch._dynamo.graph_break()
        return self.out(y)


class Switch(Net):
    """Depends on a number that somebody may change."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * SCALE


class LeftBehind(Net):
    """Adds a tensor that does not move with it, since it is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = torch.ones(4)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.offset.to(x.dtype)


class Numerical(Net):
    """Computes a part of its answer with numpy."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * float(x.detach().numpy().shape[0])


class Rigid(Net):
    """Works for a batch of 8 only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.arange(8, dtype=x.dtype)[:, None]


class Squared(Net):
    """Has as many rows of a matrix as the batch has."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.mix @ super().forward(x)


class Unrolled(Net):
    """Goes through the rows of the batch in a loop of Python's."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([super(Unrolled, self).forward(row) for row in x])


class Nested(nn.Module):
    """Dicts, tuples, None, numbers: in and out. One answer is an input, one comes twice, one bears
    an input's name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def forward(
        self, *, x: Tensor, pair: tuple[Tensor, Tensor], factor: int, double: bool
    ) -> dict[str, Any]:
        y = self.net(x) * factor
        y = y * 2 if double else y
        return {"x": y, "twice": (y, None), "given": pair[0], "deep": {"sum": pair[0] + pair[1]}}


def nested(sizes: dict[str, int], generator: torch.Generator) -> dict[str, Any]:
    def draw() -> Tensor:
        return torch.randn(sizes["batch"], 16, generator=generator)

    return {"x": draw(), "pair": (draw(), draw()), "factor": 3, "double": True}


class Pooled(nn.Module):
    """(batch, length, 16) to (batch, 16), whatever the length."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def sequences(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor]:
    return (torch.randn(sizes["batch"], sizes["length"], 16, generator=generator),)


def pixels(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor]:
    """Outputs of ``nn.Identity``: as many as are asked for."""
    return (torch.randn(sizes["batch"], sizes["width"], generator=generator),)


class Scaled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1.1


# -- what is no model, and no inputs


def no_module() -> int:
    return 3


def failing() -> nn.Module:
    raise RuntimeError("the weights are not here")


def a_tensor(sizes: dict[str, int], generator: torch.Generator) -> Tensor:
    return rows(sizes, generator)[0]


def other_every_time(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor]:
    extra = int(torch.randint(1, 1000, (), generator=generator))
    return (torch.randn(extra, 16, generator=generator),)


# -- models that end their process while they answer


class Segfaulting(Net):
    def forward(self, x: Tensor) -> Tensor:
        print("about to fall", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)
        return x


def tied_rows(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor]:
    (x,) = rows(sizes, generator)
    x[:, 1] = x[:, 0]
    return (x,)


class Tied(nn.Module):
    """Through a relu of what is exactly zero: there its gradient is 0 or 1, and rounding may
    decide.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(16, 32), nn.Linear(32, 4)
        self.edge = torch.relu

    def forward(self, x: Tensor) -> Any:
        return self.out(self.hidden(x)) + self.edge(x[:, :1] - x[:, 1:2])


def dying_rank(model: Any) -> Any:
    """Two ranks, of which one is killed while the other waits for it."""
    import psutil

    from models import distributed

    ranks = distributed.ddp_2(model)
    started = psutil.Process(ranks._torchrun.pid).children()
    next(process for process in started if process.environ()["RANK"] == "1").kill()
    return ranks


def lonely(model: Any) -> Any:
    """Ranks on a machine with too few GPUs."""
    from models.distributed import Unavailable

    raise Unavailable("2 ranks need one GPU each; this machine has 1")


def wild(parameters: Any) -> torch.optim.Optimizer:
    """Steps so long that after some of them every rounding has grown to the size of the loss."""
    return torch.optim.SGD(parameters, lr=3.0, momentum=0.9)
