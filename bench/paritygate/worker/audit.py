"""Audit: find times that are not those of the work, because a call does not do it.

Timing calls a model with a few input sets in turn. A model that keeps an answer and returns it
again is right and fast, and so is one that returns an object which computes when it is read. Both
happen by accident, too: a tokenizer keeps words, a library keeps masks. Neither time is that of the
work.
"""

from __future__ import annotations

import statistics
import time
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from paritygate.backends.contract import BackendError
from paritygate.core.reasons import listed
from paritygate.runtime import nest
from paritygate.runtime.devices import Device
from paritygate.runtime.subject import UNSEEN, BoundCase, arrays
from paritygate.worker import check
from paritygate.worker.opened import OpenedModel
from paritygate.worker.stopwatch import settle

PROBES = 8  # input sets that must all show the same: a disturbance makes one call slow, not eight
CACHED = 1.5  # a first call takes this many times as long as the next with the same input set
LEAST = 50e-6  # seconds more, at least: memory that is used for the first time costs some
LAZY = 0.5  # of a call, which reading its answer takes longer than reading known numbers
READING = 4.0  # times as long as reading known numbers: copies from a device are slower
READING_EACH = 100e-6  # seconds for every output
CLOCKS = ("perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time", "time_ns")
ADVICE = "times would be those of a look-up; switch the cache off in the model that is measured"


def replaced_clocks(device: Device) -> list[str]:
    """Return the names of the clocks that are no longer those of Python."""
    clocks = {f"time.{name}": (getattr(time, name), name) for name in CLOCKS}
    clocks["the clock of the times"] = device.clock, "perf_counter"
    return [where for where, (clock, name) in clocks.items() if not _is_pythons(clock, name)]


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
    left_out = (
        _require_other_answers(opened, expected, allowed),
        _require_work_in_calls(opened, device),
    )
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
    targets = _targets(feed, other)
    if not targets:
        return "new values in the same memory: the inputs cannot be overwritten"
    before = [(leaf, nest.fresh(leaf)) for leaf, _ in targets]
    try:
        _write(targets)
        answer = opened.answer(feed)
    finally:
        _write(before)
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
    probe, found = Probe(opened, device), list[Seen]()
    for feed in unseen(opened):
        found.append(probe.look(feed))
        if not (found[-1].at_once or found[-1].unread):
            return ""
    if not found:
        return "new values: every input set holds the same values"
    seen = min(found, key=lambda seen: seen.first)
    if all(one.unread for one in found):
        raise BackendError(
            f"lazy output: a call takes {seen.first:.3g} s, and reading its answer {seen.reading:.3g} s (a copy of the "
            f"same numbers takes {seen.known:.3g} s): the work is done when the answer is read, which is not timed; "
            "return tensors that are computed"
        )
    if not all(one.at_once for one in found):
        return ""
    # A model that keeps its last answer alone works in every call of the timed loop. The second
    # turn counts: the calls above may have displaced what the model kept.
    turns = [[probe.seconds(feed)[0] for feed in opened.feeds] for _ in range(2)]
    if not _at_once(seen.first, statistics.median(turns[1])):
        return ""
    raise BackendError(
        f"cached by {_kept_by(probe, opened)}: an input set takes {seen.first:.3g} s when it comes for the first time, "
        f"and {seen.again:.3g} s when it comes again; {ADVICE}"
    )


def _kept_by(probe: Probe, opened: OpenedModel) -> str:
    """Return by what a model knows an input set again."""
    copies = [
        opened.prepared.to_inputs(nest.fresh(one)) for one in opened.inputs[: len(opened.feeds)]
    ]
    slow = sum(probe.look(copy).at_once for copy in copies)
    return "identity" if slow > len(copies) / 2 else "value"


def unseen(opened: OpenedModel) -> Iterator[Any]:
    """Yield ``PROBES`` input sets that the model has not seen, in the form that it takes. Yield none
    if all are the same.

    The reference worker has made the first ones, as importing what makes them can take seconds.
    """
    subject: BoundCase = opened.subject
    kept: list[Any] = []
    for number in range(PROBES):
        # like the inputs that were loaded: another kind of tensor recompiles
        with torch.inference_mode(False):
            kept = kept or subject.scratch.load("unseen")
            made = kept[number] if number < len(kept) else subject.make_inputs(UNSEEN + number)
        if not nest.changed(opened.inputs[0], made):
            return
        yield opened.prepared.to_inputs(made)


@dataclass(frozen=True)
class Seen:
    """Seconds of one input set: of its ``first`` call, when it comes ``again``, of ``reading`` its
    answer, and of reading ``known`` numbers of the same size.
    """

    first: float
    again: float
    reading: float
    known: float
    outputs: int

    @property
    def at_once(self) -> bool:
        """Whether the later call was too fast to have done the work."""
        return _at_once(self.first, self.again)

    @property
    def unread(self) -> bool:
        """Whether reading the answer took too long for an answer that was there."""
        usual = READING * self.known + READING_EACH * self.outputs
        return self.reading > usual + LAZY * self.first


class Probe:
    """Times single calls, and the reading of their answers, on a device.

    Calls with another input set come just before each of them, as before a block: after a pause
    threads are asleep, or those of another library still spin.
    """

    def __init__(self, opened: OpenedModel, device: Device) -> None:
        self._opened, self._device = opened, device

    def look(self, feed: Any) -> Seen:
        """Return what is seen of an input set that comes for the first time."""
        first, reading, answer = self.seconds(feed)
        again = min(self.seconds(feed)[0] for _ in range(2))
        return Seen(first, again, reading, self.seconds_to_read(answer), len(answer))

    def seconds(self, feed: Any) -> tuple[float, float, check.Answer]:
        """Return the seconds of a call from the initial state, those of reading its answer, and the
        answer.
        """
        clock, prepared, feeds = self._device.clock, self._opened.prepared, self._opened.feeds
        other = feeds[-1] if feed is feeds[0] else feeds[0]
        settle(self._device, lambda: prepared.call(other))
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
        tensors, clock = [torch.from_numpy(output) for output in answer], self._device.clock
        times = []
        for _ in range(3):  # what the calls before have started may still take the processor
            started = clock()
            arrays(nest.comparable(tensors))
            times.append(clock() - started)
        return min(times)


def _at_once(first: float, again: float) -> bool:
    """Return whether a call was so much faster than the first that it cannot have done the work."""
    return first > CACHED * again and first - again > LEAST


def _targets(feed: Any, other: Any) -> list[tuple[Any, Any]]:
    """Return each leaf of ``feed`` that can be overwritten, with that of ``other``. Return none if
    this does not make them equal.
    """
    ours, theirs = dict(nest.named_leaves(feed)), dict(nest.named_leaves(other))
    pairs = [(leaf, theirs.get(path)) for path, leaf in ours.items()]
    equal = all(_writable(*pair) or nest.identical(*pair) for pair in pairs)
    return [pair for pair in pairs if _writable(*pair)] if equal else []


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


def _write(pairs: Sequence[tuple[Any, Any]]) -> None:
    for leaf, value in pairs:
        if torch.is_tensor(leaf):
            leaf.detach().copy_(value.detach())
        else:
            np.copyto(leaf, value)
