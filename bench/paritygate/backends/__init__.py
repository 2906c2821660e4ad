"""BACKENDS: the ways a model can be run, one file each, and what such a file has.

A backend is a module with three functions; none of them may import torch or a runtime before it is called:

``available(target) -> str | None``
    At collection, standard library only: why the target cannot work here, or None.
``preload() -> None``
    In the fork server, before its first fork: the imports and probes that every worker would repeat.
    Must start no thread and open no file for good.
``prepare(subject) -> Prepared``
    In the worker: makes the model of a ``paritygate.runtime.subject.Subject`` ready to be called. Raises
    ``Unavailable`` where that turns out to be impossible here (the cell is skipped with the reason).

and may have a fourth::

``artefact(subject) -> dict``
    In the reference worker: makes files that ``prepare`` will load, unless the cache has them, and returns
    facts about them. A backend with it gets no model in ``prepare``, only what it made.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paritygate.runtime.modes import Training


class Unavailable(Exception):
    """A target cannot run here; the message is the reason its cell is skipped with."""


class Misbehaved(Exception):
    """A backend quietly did something else: fell back, recompiled, broke the graph. The message names it."""


@dataclass(frozen=True)
class Backend:
    """A row of the table. ``default``: part of a run that names no backends. ``artefact``: it has that function.

    ``differentiable``: it can run a backward, and so the modes that need one.
    """

    name: str
    module: str
    default: bool = True
    artefact: bool = False
    differentiable: bool = False


@dataclass
class Prepared:
    """A model ready to be called by one backend.

    ``call`` is what is timed: takes one input set as ``feed`` made it, returns raw outputs. ``read`` turns
    those into tensors (or arrays) of their own memory. ``facts`` is asked after the first calls and after the
    last; it raises ``Misbehaved`` where something is not as declared. ``guard`` is entered around everything
    that calls; ``steady`` around what must not change any more (the measured loop). ``kernels`` tells which
    attention kernels one call runs, None where that cannot be seen. ``resizable``: another batch size costs no
    compile. ``model`` is what ``call`` calls. ``training``: of a training case. ``reset``: of a model whose answers
    depend on the calls before; puts back its initial state. ``reads_only``: its calls never write into what ``feed``
    gave, whatever the model does. ``queued``: its work is queued on the device's stream, so that marks there enclose
    it.
    """

    call: Callable[[Any], Any]
    model: Any = None
    feed: Callable[[Any], Any] = lambda inputs: inputs
    read: Callable[[Any], list[Any]] = lambda raw: list(raw)
    facts: Callable[[], dict[str, Any]] = dict
    guard: Callable[[], AbstractContextManager[Any]] = nullcontext
    steady: Callable[[], AbstractContextManager[Any]] = nullcontext
    kernels: Callable[[Any], dict[str, int] | None] = lambda _: {}
    resizable: bool = True
    training: Training | None = None
    reset: Callable[[], None] | None = None
    reads_only: bool = False
    queued: bool = True


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("eager", "paritygate.backends.eager", differentiable=True),
        Backend("compile", "paritygate.backends.compiled", differentiable=True),
        Backend("compile_reduce_overhead", "paritygate.backends.compiled", default=False, differentiable=True),
        Backend("compile_max_autotune", "paritygate.backends.compiled", default=False, differentiable=True),
        Backend("onnxruntime", "paritygate.backends.onnxruntime", artefact=True),
        Backend("onnxruntime_host", "paritygate.backends.onnxruntime", default=False, artefact=True),
        Backend("onnxruntime_graph", "paritygate.backends.onnxruntime", default=False, artefact=True),
        Backend("tensorrt", "paritygate.backends.onnxruntime", default=False, artefact=True),
        Backend("aoti", "paritygate.backends.aoti", default=False, artefact=True),
    )
}
