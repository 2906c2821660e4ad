"""Evidence of an opened cell, collected once a run: its kernels, its accuracy, its leaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from paritygate.core.record import Status
from paritygate.parity import rule
from paritygate.process.protocol import Stage
from paritygate.runtime import nest
from paritygate.runtime.declared import error_note, resolve
from paritygate.runtime.devices import Device
from paritygate.worker import evaluation, soak
from paritygate.worker.calls import Say
from paritygate.worker.check import Answer
from paritygate.worker.errors import status_of
from paritygate.worker.opened import OpenedModel


def batch_invariance(opened: OpenedModel, full: Answer) -> dict[str, Any]:
    """Return the distance between row i of a batch and the same row alone, as a fact. It is left out
    if a batch of one cannot be cut.
    """
    batch = opened.subject.sizes.get("batch", 1)
    if batch < 2 or not opened.prepared.resizable:
        return {}
    row, off = batch // 2, 0.0

    def of_row(leaf: torch.Tensor) -> torch.Tensor:
        return leaf[row : row + 1] if leaf.ndim and leaf.shape[0] == batch else leaf

    try:
        # like the inputs that were loaded: another kind of tensor recompiles
        with torch.inference_mode(False):
            cut = nest.mapped(opened.inputs[0], of_row)
        alone = opened.answer(opened.prepared.to_inputs(cut))
        for one, many in zip(alone, full, strict=True):
            if many.ndim and many.shape[0] == batch:
                norm = max(float(np.linalg.norm(many[row].astype(np.float64))), rule.TINY)
                off = max(off, float(np.linalg.norm(one[0].astype(np.float64) - many[row])) / norm)
    except Exception as error:  # the fact cannot be measured; its reason becomes the fact
        return {"batch_invariance_error": status_of(error)[1]}
    return {"batch_invariance": off}


def evaluated(opened: OpenedModel, say: Say, error: float) -> dict[str, Any]:
    """Compare the accuracy on labelled samples with eager's. ``error``: see ``evaluation``."""
    say(Stage.SAMPLES)
    subject, prepared = opened.subject, opened.prepared
    kept = subject.scratch.load("evaluate")
    eager = subject.scratch.load_answers("evaluate")
    assert eager is not None
    total = len(kept["labels"])
    logits = evaluation.in_batches(
        lambda inputs: opened.read(prepared.call(prepared.to_inputs(inputs)))[0],
        kept["inputs"],
        total,
        subject.sizes.get("batch", total),
    )
    labels, wanted = kept["labels"].numpy(), subject.case.accuracy
    return evaluation.against_eager(logits, eager[0][0], labels, error, wanted)


def learnt(opened: OpenedModel, say: Say) -> dict[str, Any]:
    """Return the accuracy on labelled samples after a whole training."""
    subject, training = opened.subject, opened.prepared.training
    assert training is not None
    say(Stage.LEARNING)
    kept = subject.scratch.load("evaluate")
    location = subject.case.train_data
    assert location is not None  # a training case with evaluate= has train_data=
    with error_note("train_data", location):
        made = resolve(location)(dict(subject.sizes))
    steps = (opened.prepared.to_inputs(subject.cast(step)) for step in made)
    right = training.learn(steps, kept["inputs"]).argmax(1).cpu() == kept["labels"]
    return evaluation.accuracy(right.numpy(), subject.case.accuracy)


def soaked(opened: OpenedModel, say: Say, device: Device) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the memory that many calls keep, as facts, and the status of a cell that they end."""
    calls, feeds = opened.subject.case.soak, opened.feeds
    say(Stage.SOAKING, calls)
    found = soak.soak(
        lambda number: opened.prepared.call(feeds[number % len(feeds)]), calls, device.held_bytes
    )
    reason = soak.leak(found)
    return {"soak": found}, {"status": str(Status.FAILED), "reason": reason} if reason else {}
