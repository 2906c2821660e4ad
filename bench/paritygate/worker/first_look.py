"""First look: learn from eager's first calls how a model behaves, before any comparison.

It finds how long a call takes and what it writes to. It also finds whether answers depend on
earlier calls or on random numbers.
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
    """The results of the first calls.

    - ``answer`` and ``again``: the answers of the first call and of another one. If the model keeps
      state, both start from the initial state.
    - ``written``: the inputs that a call writes to, by path.
    - ``changed``: the state that a call changes in the model.
    - ``remembered``: the part of ``changed`` on which answers depend.
    - ``drew``: the generator of random numbers that moved.
    - ``seconds``: of a call, without the first one.
    """

    answer: list[torch.Tensor]
    again: list[torch.Tensor]
    seconds: float
    written: list[str]
    changed: list[str]
    remembered: list[str]
    drew: str

    def facts(self) -> dict[str, Any]:
        """Return the facts for a record."""
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
    """Call twice with the same inputs. If the second answer differs, call once more from the
    initial state.

    ``other`` makes other inputs for a call in between, if the state has changed. For example, a
    maximum over all inputs does not change when the same inputs come again.

    A mode whose answers depend on earlier calls keeps the state that its ``reset`` restores. A
    training restores the contents of its ``state_dict`` by itself, so they are not found changed.
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
    """Return whether two answers hold the same bits. NaN equals NaN."""
    return len(one) == len(other) and all(
        nest.identical(a, b) for a, b in zip(one, other, strict=True)
    )


def _called(mode: Mode, inputs: Inputs) -> tuple[list[torch.Tensor], list[str], float]:
    """Return the answer to a copy of the inputs, the inputs that were written to, and the seconds
    of the call.
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
