"""First look: what eager's first calls tell of a model, before anything is compared.

How long a call takes, what it writes to, whether its answers depend on the calls before or on
random numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from paritygate.runtime import nest
from paritygate.runtime.modes import Mode, Plain, Training
from paritygate.runtime.state import Draws, State
from paritygate.runtime.subject import Inputs


@dataclass
class Look:
    """``answer`` and ``again``: of the first call and of another one, from the initial state where
    the model remembers.
    ``written``: inputs that a call writes to, by path. ``changed``: what it leaves in the model.
    ``remembered``: the part of that on which answers depend. ``drew``: the generator of random
    numbers that moved. ``seconds``: of a call, the first one left out.
    """

    answer: list[torch.Tensor]
    again: list[torch.Tensor]
    seconds: float
    written: list[str]
    changed: list[str]
    remembered: list[str]
    drew: str

    def facts(self) -> dict[str, Any]:
        """What of it a record holds."""
        found = {
            "writes_inputs": self.written,
            "state_changed": self.changed,
            "state": self.remembered,
        }
        return {name: value for name, value in found.items() if value} | (
            {"draws_random_numbers": self.drew} if self.drew else {}
        )


def look(
    mode: Mode, module: Any, inputs: Inputs, other: Callable[[], Inputs] | None = None
) -> Look:
    """Call twice with the same inputs, and once more from the initial state if the second answer is
    another.

    ``other``: makes other inputs, to call with in between where something has changed: a maximum of
    all that came, say, is the same after the same inputs.

    A mode whose answers depend on earlier calls is left with the state that its ``reset`` puts
    back. A training puts back by itself what a ``state_dict`` holds: of that nothing is found
    changed.
    """
    watched = isinstance(mode, Plain) and isinstance(module, torch.nn.Module)
    state = State(module) if watched else None
    draws = Draws()
    first, written, _ = _called(mode, inputs)
    drew = draws.moved()
    changed = [] if state is None else state.changed(parameters=not isinstance(mode, Training))
    again, _, seconds = _called(mode, inputs)
    remembered: list[str] = []
    if changed and same(first, again) and other is not None:
        _called(mode, other())
        again = _called(mode, inputs)[0]
    if state is not None and changed and not same(first, again):
        state.restore()
        restored, _, seconds = _called(mode, inputs)
        if same(first, restored):
            remembered, again = changed, restored
            assert isinstance(mode, Plain)
            state.restore()
            mode.state = State(module, only=tuple(changed))
    return Look(first, again, seconds, written, changed, remembered, drew)


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    """Whether two answers hold the same bits, NaN counting as itself."""
    return len(one) == len(other) and all(
        nest.identical(a, b) for a, b in zip(one, other, strict=True)
    )


def _called(mode: Mode, inputs: Inputs) -> tuple[list[torch.Tensor], list[str], float]:
    """The answer to a copy of the inputs, which of them were written to, and the seconds that the
    call took.
    """
    with mode.context():
        fed = mode.to_inputs(nest.fresh(inputs))
        started = time.perf_counter()
        raw = mode(fed)
        seconds = time.perf_counter() - started
        answer = mode.to_tensors(raw)
        if isinstance(mode, Training):
            mode.reset()
    return answer, nest.changed(inputs, fed), seconds
