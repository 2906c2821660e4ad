"""BACKENDS: the ways to run a model, one file each.

A backend is a module with three functions; none of them may import torch or a runtime before it is
called:

``available(target) -> str | None``
    Runs at collection, with the standard library only. Returns why the target cannot work here, or None.
``preload() -> None``
    Runs in the fork server, before its first fork: imports and probes that every worker would repeat.
    It must start no thread, and close every file that it opens.
``prepare(subject) -> PreparedModel``
    Runs in the worker: prepares the model of a ``paritygate.runtime.subject.BoundCase`` for calls. Raises
    ``UnavailableError`` if that is impossible here (the cell is skipped with the reason). Its ``facts`` raise
    ``BackendError`` if the backend quietly did something else.

and may have a fourth::

``artefact(subject) -> dict``
    Runs in the reference worker: makes files that ``prepare`` loads, unless the cache has them, and returns
    facts about them. ``prepare`` of such a backend gets no model, only these files.
"""

from __future__ import annotations

from dataclasses import dataclass

from paritygate.backends.contract import BackendError, PreparedModel, UnavailableError

__all__ = ["BACKENDS", "Backend", "BackendError", "PreparedModel", "UnavailableError"]


@dataclass(frozen=True)
class Backend:
    """A row of the table: the properties of a backend that the pytest process needs without
    importing it.

    - ``default``: part of a run that names no backends.
    - ``artefact``: the module has that function.
    - ``differentiable``: it can run a backward, and so the modes that need one.
    - ``compiles``: opening it may compile, so it gets the longer deadline.
    - ``slow_to_open``: shapes that are only checked are left out of quick runs.
    - ``single_threaded_load``: with a warm cache it opens in one thread, so two may open at once.
    - ``resizable``: another batch size needs no compile or export. ``PreparedModel.resizable`` says it in
      the worker; its default is True.
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
