"""OpenedModel: a backend that is ready in this process, with its model, inputs and answers."""

from __future__ import annotations

import gc
import importlib
import time
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from paritygate.backends.contract import BackendError, PreparedModel
from paritygate.process.protocol import Stage
from paritygate.runtime import facts, nest
from paritygate.runtime.devices import Device
from paritygate.runtime.subject import BoundCase, arrays
from paritygate.worker.calls import Calls, Say
from paritygate.worker.check import Answer, Sets


class OpenedModel:
    """A prepared model with the input sets of its case. ``feeds``: these sets as the model takes them."""

    def __init__(
        self,
        subject: BoundCase,
        prepared: PreparedModel,
        inputs: Sequence[Any],
        feeds: Sequence[Any],
    ) -> None:
        self.subject, self.prepared, self.inputs, self.feeds = subject, prepared, inputs, feeds
        self.dtypes: list[str] = []  # of the last answer that was read
        self.cold = False  # this process had to compile

    def answer(self, feed: Any) -> Answer:
        """Return the answer to an input from the initial state."""
        if self.prepared.reset is not None:
            self.prepared.reset()
        return self.read(self.prepared.call(feed))

    def read(self, raw: Any) -> Answer:
        """Return the result of a call as arrays with their own memory."""
        outputs = self.prepared.to_tensors(raw)
        self.dtypes = [str(t.dtype) for t in outputs]
        return arrays(outputs)

    def facts(self) -> dict[str, Any]:
        """Return the backend's facts of the cell, without ``cold``, which belongs to this process."""
        found = dict(self.prepared.facts())
        self.cold = bool(found.pop("cold", False))
        return found


def open_model(
    subject: BoundCase,
    device: Device,
    module: str,
    settings: dict[str, Any],
    say: Say,
    sets: int | None = None,
    answered: int | None = None,
) -> tuple[OpenedModel, Sets, dict[str, Any]]:
    """Prepare the backend in ``module`` for ``sets`` input sets and answer ``answered`` of them;
    None means all.

    Return the opened model, these answers, and its cost. ``settings``: those of the process, which
    no backend may change.
    """
    say(Stage.LOADING)
    inputs = subject.raw_inputs()[:sets]
    gc.collect()
    device.reset_peak()
    say(Stage.PREPARING)
    started = time.perf_counter()
    prepared = importlib.import_module(module).prepare(subject)
    _wrap(prepared, subject)
    with prepared.context():
        opened = OpenedModel(subject, prepared, inputs, list(map(prepared.to_inputs, inputs)))
        before = _bits(inputs)
        first_call = time.perf_counter()
        raw = prepared.call(opened.feeds[0])
        device.synchronize()
        ready = time.perf_counter()
        calls = Calls(say, ready - first_call)
        calls.begin(Stage.ANSWERING, len(opened.feeds[:answered]))
        calls.done()
        answers = [opened.read(raw)]
        for feed in opened.feeds[1:answered]:
            answers.append(opened.answer(feed))
            calls.done()
        if prepared.reset is not None:
            prepared.reset()
        if _bits(inputs) != before:
            raise BackendError("writes into its inputs, which eager leaves as they are")
    del raw
    peak = device.peak_bytes()
    found = opened.facts()
    changed = {k: (v, now) for k, v in settings.items() if (now := facts.settings()[k]) != v}
    if changed:
        raise BackendError(
            f"settings changed while preparing (was, is): {changed}; all backends must share them"
        )
    cost = {
        "prepare_seconds": ready - started,
        "first_call_seconds": ready - first_call,
        "peak_bytes": peak,
        "facts": found | {"settings": settings} | device.facts(),
        "cold": opened.cold,
    }
    return opened, answers, cost


def _wrap(prepared: PreparedModel, subject: BoundCase) -> None:
    """Make the case's preprocessing part of a call. Or, if the model writes to its inputs, copy
    them in each call.
    """
    model, kernels, to_inputs = prepared.call, prepared.kernels, prepared.to_inputs
    if subject.case.preprocess:
        prepared.call = lambda raw: model(to_inputs(subject.encode(raw)))
        prepared.kernels = lambda raw: kernels(to_inputs(subject.encode(raw)))
        prepared.to_inputs, prepared.resizable = lambda raw: raw, False
    elif subject.written and not prepared.reads_only:
        # every call begins with inputs as they were
        prepared.call = lambda feed: model(nest.fresh(feed))
        prepared.kernels = lambda feed: kernels(nest.fresh(feed))


def _bits(inputs: Sequence[Any]) -> list[int]:
    """Return a checksum of every tensor of some input sets."""
    leaves = [leaf for one in inputs for leaf in nest.as_tensors(nest.tensor_leaves(one))]
    return [
        zlib.crc32(np.ascontiguousarray(array).data)
        for array in arrays([leaf.detach().cpu() for leaf in leaves])
    ]
