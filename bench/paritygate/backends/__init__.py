"""BACKENDS: the ways a model can be run, one file each, and what such a file has.

A backend is a module with three functions; none of them may import torch or a runtime before it is
called:

``available(target) -> str | None``
    At collection, standard library only: why the target cannot work here, or None.
``preload() -> None``
    In the fork server, before its first fork: the imports and probes that every worker would repeat.
    Must start no thread and open no file for good.
``prepare(subject) -> PreparedModel``
    In the worker: makes the model of a ``paritygate.runtime.subject.BoundCase`` ready to be called. Raises
    ``UnavailableError`` where that turns out to be impossible here (the cell is skipped with the reason).

and may have a fourth::

``artefact(subject) -> dict``
    In the reference worker: makes files that ``prepare`` will load, unless the cache has them, and returns
    facts about them. A backend with it gets no model in ``prepare``, only what it made.
"""

from __future__ import annotations

from dataclasses import dataclass

from paritygate.backends.contract import BackendError, PreparedModel, UnavailableError

__all__ = ["BACKENDS", "Backend", "BackendError", "PreparedModel", "UnavailableError"]


@dataclass(frozen=True)
class Backend:
    """A row of the table: what the pytest process must know of a backend without importing it.

    ``default``: part of a run that names no backends. ``artefact``: it has that function.
    ``differentiable``: it can run a backward, and so the modes that need one. ``compiles``: opening
    it may compile, so it gets the time for that. ``slow_to_open``: shapes that are only checked are
    left out of quick runs. ``single_threaded_load``: with a warm cache one thread opens it, so two
    may open at once. ``resizable``: another batch size costs it nothing.
    """

    name: str
    module: str
    default: bool = True
    artefact: bool = False
    differentiable: bool = False
    compiles: bool = False
    slow_to_open: bool = False
    single_threaded_load: bool = False
    resizable: bool = False


def _compile(name: str, default: bool = False) -> Backend:
    return Backend(
        name,
        "paritygate.backends.compiled",
        default,
        differentiable=True,
        compiles=True,
        slow_to_open=True,
        single_threaded_load=True,
    )


def _onnxruntime(
    name: str, default: bool = False, compiles: bool = False, resizable: bool = False
) -> Backend:
    return Backend(
        name,
        "paritygate.backends.onnxruntime",
        default,
        artefact=True,
        compiles=compiles,
        resizable=resizable,
    )


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("eager", "paritygate.backends.eager", differentiable=True, resizable=True),
        _compile("compile", default=True),
        _compile("compile_reduce_overhead"),
        _compile("compile_max_autotune"),
        _onnxruntime("onnxruntime", default=True, resizable=True),
        _onnxruntime("onnxruntime_host"),
        _onnxruntime("onnxruntime_graph"),
        _onnxruntime("tensorrt", compiles=True),
        Backend(
            "aoti", "paritygate.backends.aoti", default=False, artefact=True, slow_to_open=True
        ),
    )
}
