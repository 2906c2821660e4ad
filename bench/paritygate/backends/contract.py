"""The values and errors that a backend passes to the worker. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paritygate.runtime.modes import Mode, Training


class UnavailableError(Exception):
    """A target cannot run here. Its cell is skipped, with the message as the reason."""


class BackendError(Exception):
    """A backend silently did something else: it fell back, recompiled, or broke the graph. The
    message names it.
    """


@dataclass
class PreparedModel:
    """A model that one backend has prepared for calls.

    - ``call``: the callable that is timed. It takes one input set from ``to_inputs`` and returns
      raw outputs.
    - ``model``: the object that ``call`` calls.
    - ``to_inputs``: converts an input set to the form that ``call`` takes.
    - ``to_tensors``: converts raw outputs to tensors (or arrays) with memory of their own.
    - ``facts``: called after the first calls and after the last one. It raises ``BackendError`` if
      something is not as declared.
    - ``context``: entered around all calls.
    - ``steady_context``: entered around the measured loop, in which nothing may be compiled any
      more.
    - ``kernels``: returns the attention kernels of one call, or None where they cannot be seen.
    - ``resizable``: another batch size needs no compile or export.
    - ``training``: the mode of a training case.
    - ``reset``: restores the initial state of a model whose answers depend on earlier calls.
    - ``reads_only``: a call never writes to the result of ``to_inputs``, whatever the model does.
    - ``asynchronous``: its work is queued on the device's stream, so marks on that stream enclose
      it.
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
    def from_mode(cls, mode: Mode, **rest: Any) -> PreparedModel:
        """Return a mode prepared for calls. ``rest``: further fields that the backend sets."""
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
