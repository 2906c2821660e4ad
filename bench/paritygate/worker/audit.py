"""Audit: find times that are not those of the work, because a call does not do it.

Timing calls a model with a few input sets in turn. A model that keeps an answer and returns it
again is right and fast, and so is one that returns an object which computes when it is read. Both
happen by accident, too: a tokenizer keeps words, a library keeps masks. Neither time is that of the
work.
"""

from __future__ import annotations

import time
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from paritygate.backends.contract import BackendError
from paritygate.core.reasons import listed
from paritygate.runtime import nest
from paritygate.runtime.devices import Device
from paritygate.runtime.subject import BoundCase, arrays
from paritygate.worker import check
from paritygate.worker.opened import OpenedModel

PROBES = 5  # all must show the same: a disturbance makes one call slow, and seldom five of five
CACHED = 1.5  # a first call takes this many times as long as the next with the same input set
LEAST = 50e-6  # seconds more, at least: memory that is used for the first time costs some
LAZY = 0.5  # of a call, which reading its answer takes longer than reading known numbers
READING = 4.0  # times as long as reading known numbers: copies from a device are slower
READING_EACH = 100e-6  # seconds for every output
UNSEEN = 1_000_000  # number of the first input set that no check has used
CLOCKS = ("perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time", "time_ns")
ADVICE = "times would be those of a look-up; switch the cache off in the model that is measured"


def replaced_clocks(device: Device) -> list[str]:
    """Return the names of the clocks that are no longer those of Python."""
    found = [f"time.{name}" for name in CLOCKS if not _is_pythons(getattr(time, name), name)]
    return (
        found if _is_pythons(device.clock, "perf_counter") else [*found, "the clock of the times"]
    )


def _is_pythons(clock: object, name: str) -> bool:
    return isinstance(clock, types.BuiltinFunctionType) and clock.__name__ == name


def require_work(
    opened: OpenedModel, expected: check.Sets, allowed: float, device: Device
) -> list[str]:
    """Raise ``BackendError`` if calls do not do the work that their times stand for.

    ``expected``: the checked answers to the input sets of ``opened``. Return the parts of the audit
    that the inputs of this case do not allow.
    """
    _require_unwritten(opened)
    left_out = [_require_other_answers(opened, expected, allowed)]
    left_out.append(_require_work_in_calls(opened, device))
    return [reason for reason in left_out if reason]


def _require_unwritten(opened: OpenedModel) -> None:
    """Raise ``BackendError`` if timed calls have written into an input set."""
    prepared, subject = opened.prepared, opened.subject
    if prepared.reads_only or subject.written:
        return
    with torch.inference_mode(False):
        given = subject.raw_inputs()[: len(opened.feeds)]
    for number, (inputs, feed) in enumerate(zip(given, opened.feeds, strict=True)):
        if found := nest.changed(prepared.to_inputs(inputs), feed):
            raise BackendError(
                f"writes into its inputs while timed: input {listed(found)} of input set {number} is not as it was"
            )


def _require_other_answers(opened: OpenedModel, expected: check.Sets, allowed: float) -> str:
    """Write the numbers of the second input set into the memory of the first. Raise ``BackendError``
    if the answer is still that to the first. Return why this cannot be done, or "".
    """
    if len(opened.feeds) < 2 or check.identical(expected[0], expected[1]):
        return "new values in the same memory: all input sets have the same answer"
    feed, other = opened.feeds[:2]
    targets = list(_overwritten(feed, other))
    if not targets:
        return "new values in the same memory: the inputs cannot be overwritten"
    kept = [_copy(leaf) for leaf, _ in targets]
    try:
        _write([(leaf, value) for leaf, value in targets])
        answer = opened.answer(feed)
    finally:
        _write([(leaf, value) for (leaf, _), value in zip(targets, kept, strict=True)])
    if check.identical(answer, expected[0]):
        raise BackendError(
            "cached by identity: new values in the memory of an input set get the answer to the old ones; "
            + ADVICE
        )
    when = "with its values in the memory of another input set"
    check.verify(opened.subject, answer, expected[1], 1, allowed, when)
    return ""


def _require_work_in_calls(opened: OpenedModel, device: Device) -> str:
    """Raise ``BackendError`` if an input set takes long only when it comes for the first time, or if
    reading an answer takes long. Return why this cannot be seen, or "".
    """
    probe = Probe(opened, device)
    slow, lazy = [], []
    for feed in unseen(opened):
        first, reading, answer = probe.seconds(feed)
        again = min(probe.seconds(feed)[0] for _ in range(2))
        known = probe.seconds_to_read(answer)
        slow.append((first, again))
        lazy.append((reading, known, first))
        if not _at_once(*slow[-1]) and not _unread(*lazy[-1], outputs=len(answer)):
            return ""
    if not slow:
        return "new values: every input set holds the same values"
    if all(_unread(*each, outputs=len(answer)) for each in lazy):
        reading, known, call = min(lazy)
        raise BackendError(
            f"lazy output: a call takes {call:.3g} s, and reading its answer {reading:.3g} s (a copy of the same "
            f"numbers takes {known:.3g} s): the work is done when the answer is read, which is not timed; return "
            "tensors that are computed"
        )
    if not all(_at_once(*each) for each in slow):
        return ""
    # A model that keeps its last answer alone works in every call of the timed loop. The second
    # turn counts: the calls above may have displaced what the model kept.
    turns = [probe.seconds(feed)[0] for _ in range(2) for feed in opened.feeds]
    first, again = min(slow)
    if not _at_once(first, max(turns[len(opened.feeds) :])):
        return ""
    raise BackendError(
        f"cached by {_kept_by(probe, opened)}: an input set takes {first:.3g} s when it comes for the first time, "
        f"and {again:.3g} s when it comes again; {ADVICE}"
    )


def _kept_by(probe: Probe, opened: OpenedModel) -> str:
    """Return by what a model knows an input set again."""
    copies = [
        opened.prepared.to_inputs(nest.fresh(one)) for one in opened.inputs[: len(opened.feeds)]
    ]
    times = [(probe.seconds(copy)[0], probe.seconds(copy)[0]) for copy in copies]
    return "identity" if all(_at_once(*each) for each in times) else "value"


def unseen(opened: OpenedModel) -> Iterator[Any]:
    """Yield ``PROBES`` input sets that the model has not seen, in the form that it takes. Yield none
    if all are the same.
    """
    subject: BoundCase = opened.subject
    for number in range(UNSEEN, UNSEEN + PROBES):
        # like the inputs that were loaded: another kind of tensor recompiles
        with torch.inference_mode(False):
            made = subject.make_inputs(number)
        if not nest.changed(opened.inputs[0], made):
            return
        yield opened.prepared.to_inputs(made)


class Probe:
    """Times single calls, and the reading of their answers, on a device."""

    def __init__(self, opened: OpenedModel, device: Device) -> None:
        self._opened, self._device = opened, device

    def seconds(self, feed: Any) -> tuple[float, float, check.Answer]:
        """Return the seconds of a call from the initial state, those of reading its answer, and the
        answer.
        """
        clock, prepared = self._device.clock, self._opened.prepared
        if prepared.reset is not None:
            prepared.reset()
        self._device.synchronize()
        started = clock()
        raw = prepared.call(feed)
        self._device.synchronize()
        called = clock()
        answer = self._opened.read(raw)
        return called - started, clock() - called, answer

    def seconds_to_read(self, answer: check.Answer) -> float:
        """Return the seconds of reading tensors that hold these numbers."""
        tensors = [torch.from_numpy(output) for output in answer]
        started = self._device.clock()
        arrays(nest.comparable(tensors))
        return self._device.clock() - started


def _at_once(first: float, again: float) -> bool:
    """Return whether a call was so much faster than the first that it cannot have done the work."""
    return first > CACHED * again and first - again > LEAST


def _unread(reading: float, known: float, call: float, *, outputs: int) -> bool:
    return reading > READING * known + LAZY * call + READING_EACH * outputs


def _overwritten(feed: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each leaf of ``feed`` that can be overwritten, with that of ``other``. Yield none if
    this does not make them equal.
    """
    ours, theirs = dict(nest.named_leaves(feed)), dict(nest.named_leaves(other))
    pairs = [(leaf, theirs.get(path)) for path, leaf in ours.items()]
    if all(_writable(*pair) or nest.identical(*pair) for pair in pairs):
        yield from (pair for pair in pairs if _writable(*pair))


def _writable(leaf: Any, value: Any) -> bool:
    if isinstance(leaf, np.ndarray) and isinstance(value, np.ndarray):
        return leaf.shape == value.shape and leaf.dtype == value.dtype and leaf.flags.writeable
    if not torch.is_tensor(leaf) or not torch.is_tensor(value) or leaf.shape != value.shape:
        return False
    dense = nest.form_of(leaf) == nest.form_of(value) == nest.DENSE
    # two elements of an expanded tensor share their memory
    return dense and all(
        stride or size < 2 for stride, size in zip(leaf.stride(), leaf.shape, strict=True)
    )


def _copy(leaf: Any) -> Any:
    return leaf.detach().clone() if torch.is_tensor(leaf) else leaf.copy()


def _write(pairs: Sequence[tuple[Any, Any]]) -> None:
    for leaf, value in pairs:
        if torch.is_tensor(leaf):
            leaf.detach().copy_(value.detach())
        else:
            np.copyto(leaf, value)
