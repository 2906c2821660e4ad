"""What a backend hands to the worker, and how it says that it cannot. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paritygate.runtime.modes import Mode, Training


class UnavailableError(Exception):
    """A target cannot run here; the message is the reason its cell is skipped with."""


class BackendError(Exception):
    """A backend quietly did something else: fell back, recompiled, broke the graph. The message
    names it.
    """


@dataclass
class PreparedModel:
    """A model ready to be called by one backend.

    ``call`` is what is timed: takes one input set as ``to_inputs`` made it, returns raw outputs.
    ``to_tensors`` turns those into tensors (or arrays) of their own memory. ``facts`` is asked
    after the first calls and after the last; it raises ``BackendError`` where something is not as
    declared.
    ``context`` is entered around everything that calls; ``steady_context`` around what must not
    change any more (the measured loop). ``kernels`` tells which attention kernels one call runs,
    None where that cannot be seen. ``resizable``: another batch size costs no compile. ``model`` is
    what
    ``call`` calls. ``training``: of a training case. ``reset``: of a model whose answers depend on
    the calls before; puts back its initial state. ``reads_only``: its calls never write into what
    ``to_inputs`` gave, whatever the model does. ``asynchronous``: its work is queued on the
    device's stream, so that marks there enclose it.
    """

    call: Callable[[Any], Any]
    model: Any = None
    to_inputs: Callable[[Any], Any] = lambda inputs: inputs
    to_tensors: Callable[[Any], list[Any]] = lambda raw: list(raw)
    facts: Callable[[], dict[str, Any]] = dict
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    steady_context: Callable[[], AbstractContextManager[Any]] = nullcontext
    kernels: Callable[[Any], dict[str, int] | None] = lambda _: {}
    resizable: bool = True
    training: Training | None = None
    reset: Callable[[], None] | None = None
    reads_only: bool = False
    asynchronous: bool = True

    @classmethod
    def of(cls, mode: Mode, **rest: Any) -> PreparedModel:
        """A mode ready to be called, with whatever else the backend has to tell."""
        training, remembers = mode.training, mode.remembers
        return cls(
            call=mode,
            to_inputs=mode.to_inputs,
            to_tensors=mode.to_tensors,
            context=mode.context,
            training=training,
            reset=mode.reset if remembers else None,
            **rest,
        )
