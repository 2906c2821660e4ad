"""Models that are right and seem fast, because a call does not do the work; and honest ones that
look like them. All give ``Net``'s answers after ``WORK`` seconds. Imported by workers only.
"""

from __future__ import annotations

import threading
import time
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from paritygate.runtime.devices.cpu import Cpu
from tests.support.specimens import Net

WORK = 0.004  # seconds: longer than a thread is kept from its core on most machines
STEP = time.perf_counter  # Python's own, whatever a cheat replaces


def work(seconds: float = WORK) -> None:
    over = STEP() + seconds
    while STEP() < over:
        pass


class Honest(Net):
    """Works in every call."""

    def answer(self, x: Tensor) -> Tensor:
        work()
        return super().forward(x)

    def forward(self, x: Tensor) -> Any:
        return self.answer(x)


class ByObject(Honest):
    """Knows a tensor again."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["kept"] = []

    def forward(self, x: Tensor) -> Tensor:
        for known, answer in self.kept:
            if known is x:
                return answer.clone()
        self.kept.append((x, self.answer(x)))
        return self.kept[-1][1].clone()


class ByAddress(Honest):
    """Knows the memory again, and whether torch has written to it since."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["kept"] = {}

    def key(self, x: Tensor) -> Any:
        return x.data_ptr(), x._version, tuple(x.shape)

    def forward(self, x: Tensor) -> Tensor:
        key = self.key(x)
        if key not in self.kept:
            self.kept[key] = (x, self.answer(x))  # keeps the memory, so that it is not given away
        return self.kept[key][1].clone()


class ByValue(ByAddress):
    """Knows the numbers again."""

    def key(self, x: Tensor) -> Any:
        return bytes(x.contiguous().numpy())


class BySum(ByAddress):
    """Knows some of the numbers again."""

    def key(self, x: Tensor) -> Any:
        return float(x.double().sum())


class LastFew(ByValue):
    """Keeps four answers, as many as the timed loop has input sets."""

    KEPT = 4

    def forward(self, x: Tensor) -> Tensor:
        answer = super().forward(x)
        while len(self.kept) > self.KEPT:
            del self.kept[next(iter(self.kept))]
        return answer


class LastTwo(LastFew):
    """Honest: the timed loop asks for two others before it asks again."""

    KEPT = 2


class Dequantised(Honest):
    """Honest: keeps its weights as they are used, from the first call on."""

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "used"):
            work(10 * WORK)
            self.__dict__["used"] = True
        return self.answer(x)


class Uneven(Honest):
    """Honest: some inputs take ten times as long as others."""

    def forward(self, x: Tensor) -> Tensor:
        if float(x[0, 0]) > 0:
            work(9 * WORK)
        return self.answer(x)


class Lazy(Tensor):
    """A tensor that computes when something is done with it."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def computed(value: Any) -> Any:
            return value.__dict__["compute"]() if isinstance(value, Lazy) else value

        return func(*map(computed, args), **(kwargs or {}))


def lazy(compute: Any) -> Lazy:
    made = torch.empty(8, 4).as_subclass(Lazy)
    made.__dict__["compute"] = compute
    return made


class LazyOutput(Honest):
    """Computes when its answer is read, each time."""

    def forward(self, x: Tensor) -> Any:
        return lazy(lambda: self.answer(x))


class LazyOnce(Honest):
    """Computes when its answer is read for the first time."""

    def forward(self, x: Tensor) -> Any:
        return lazy(lru_cache(lambda: self.answer(x)))


class InThread(Honest):
    """Works beside the caller, who waits when the answer is read. The thread sleeps, because hundreds
    of them that work would disturb the calls themselves.
    """

    def forward(self, x: Tensor) -> Any:
        thread = threading.Thread(target=time.sleep, args=(10 * WORK,))
        thread.start()

        def wait() -> Tensor:
            thread.join()
            return Net.forward(self, x)

        return lazy(wait)


class LargeOutput(Net):
    """Honest: 4 MiB that cost nothing to return, and much to copy when they are read."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.linspace(1, 2, 1 << 20))

    def forward(self, x: Tensor) -> Any:
        return super().forward(x), self.table


class ManyOutputs(Net):
    """Honest: 300 outputs of one cheap call."""

    def forward(self, x: Tensor) -> Any:
        answer = super().forward(x)
        return {"parts": [answer + number for number in range(300)]}


class PatchedClock(Honest):
    """Replaces Python's clock by a slower one."""

    def __init__(self) -> None:
        super().__init__()
        vars(time)["perf_counter"] = lambda: STEP() / 10


class SlowClock(Honest):
    """Replaces the harness's clock by one at a fifth of the speed."""

    SPEED = 0.2

    def __init__(self) -> None:
        super().__init__()
        Cpu.clock = staticmethod(lambda: STEP() * self.SPEED)


class FastClock(SlowClock):
    """Seconds that are too many: base would seem slow."""

    SPEED = 3.0


class OddClock(Honest):
    """Replaces the harness's clock by one that stands still between two looks."""

    def __init__(self) -> None:
        super().__init__()
        looks = [0.0, 0.0]

        def read() -> float:
            looks[0] += 1
            if looks[0] % 2:
                looks[1] = STEP()
            return looks[1] + 1e-5 * (looks[0] % 2 == 0)

        Cpu.clock = staticmethod(read)


class WritesLater(Net):
    """Writes into its inputs, but not in its first calls."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["calls"] = 0

    def forward(self, x: Tensor) -> Tensor:
        self.__dict__["calls"] += 1
        answer = super().forward(x)
        if 60 < self.calls <= 64:  # once for each input set, and too little to matter
            x[-1, -1] = x[-1, -1].nextafter(torch.tensor(9.0))
        return answer


# -- texts


class Quick(Net):
    """Honest, and cheap beside its tokenizer."""


def texts(sizes: dict[str, int], generator: torch.Generator) -> tuple[list[str]]:
    letters = torch.randint(97, 123, (sizes["batch"], 40), generator=generator)
    return (["".join(map(chr, row)) for row in letters.tolist()],)


@cache
def _known(text: str) -> list[float]:
    work(WORK / 4)
    return [ord(letter) / 128 for letter in text[:16]]


def remembered(rows: list[str]) -> tuple[Tensor]:
    """A tokenizer that keeps every text."""
    return (torch.tensor([_known(row) for row in rows]),)


def read_again(rows: list[str]) -> tuple[Tensor]:
    """Honest: a tokenizer that keeps nothing."""
    return (torch.tensor([_known.__wrapped__(row) for row in rows]),)


# -- inputs


def same_rows(sizes: dict[str, int], _generator: torch.Generator) -> tuple[Tensor]:
    return (torch.linspace(-1, 1, sizes["batch"] * 16).reshape(sizes["batch"], 16),)


def one_row(sizes: dict[str, int], generator: torch.Generator) -> tuple[Tensor]:
    """Rows that share their memory."""
    return (torch.randn(1, 16, generator=generator).expand(sizes["batch"], 16),)
