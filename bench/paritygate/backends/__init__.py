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
    """A row of the table. ``default``: part of a run that names no backends. ``artefact``: it has
    that function.

    ``differentiable``: it can run a backward, and so the modes that need one.
    """

    name: str
    module: str
    default: bool = True
    artefact: bool = False
    differentiable: bool = False


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("eager", "paritygate.backends.eager", differentiable=True),
        Backend("compile", "paritygate.backends.compiled", differentiable=True),
        Backend(
            "compile_reduce_overhead",
            "paritygate.backends.compiled",
            default=False,
            differentiable=True,
        ),
        Backend(
            "compile_max_autotune",
            "paritygate.backends.compiled",
            default=False,
            differentiable=True,
        ),
        Backend("onnxruntime", "paritygate.backends.onnxruntime", artefact=True),
        Backend(
            "onnxruntime_host", "paritygate.backends.onnxruntime", default=False, artefact=True
        ),
        Backend(
            "onnxruntime_graph", "paritygate.backends.onnxruntime", default=False, artefact=True
        ),
        Backend("tensorrt", "paritygate.backends.onnxruntime", default=False, artefact=True),
        Backend("aoti", "paritygate.backends.aoti", default=False, artefact=True),
    )
}
