"""A worker: the process of one cell (or of one group's reference). The only caller of backends.

Answers requests over its channel: ``reference``, ``open`` (prepare, check), ``examine`` (collect evidence), ``block``
(time), ``finish`` (evidence once more). The object that was checked is the object that is timed.
"""

from __future__ import annotations

import gc
import importlib
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench import conditions, facts, labelled, laboratory, masks, nest, parity, precision, reference, second_look, soak
from bench.backends import Misbehaved
from bench.devices import DEVICES
from bench.errors import failure_of, status_of
from bench.record import Status
from bench.scratch import Scratch
from bench.stopwatch import Stopwatch
from bench.subject import CHECKED_SETS, Subject, arrays, resolve, told_of
from bench.wire import Channel

Sets = list[list[NDArray[Any]]]  # the outputs for each input set


def main(channel: Channel, task: dict[str, Any]) -> None:
    """Answer requests until the pytest process closes the channel."""
    worker: Worker | None = None

    def say(stage: str, **more: float) -> None:
        channel.send({"stage": stage} | more)

    while True:
        request = channel.receive()
        try:  # making it may fail as well: a GPU that is gone is a status of its cells
            worker = worker or Worker(Subject.of(task), task, say)
            with worker.device.guard():
                answer = getattr(worker, request.pop("op"))(**request)
        except Exception as error:
            answer = {"failure": failure_of(error)}
        channel.send(answer)


SLOW = 0.5  # seconds of a call from which on the pytest process hears of each


def _bits(inputs: list[Any]) -> list[int]:
    """A checksum of every tensor of some input sets."""
    leaves = [leaf for one in inputs for leaf in nest.tensor_leaves(one)]
    dense = [leaf.cpu() for leaf in leaves if leaf.layout is torch.strided and not leaf.is_nested]
    return [zlib.crc32(np.ascontiguousarray(array).data) for array in arrays(dense)]


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")


def _distance(now: NDArray[Any], then: NDArray[Any]) -> float:
    """How far one answer is from another, over the norm of that; infinities and NaN that both have are no distance."""
    same = (now == then) | (np.isnan(now) & np.isnan(then)) if now.dtype.kind in "fc" else now == then
    off = np.linalg.norm(now[~same].astype(np.complex128) - then[~same].astype(np.complex128))
    norm = np.linalg.norm(then[np.isfinite(then)].astype(np.complex128))
    return float(off) / max(float(norm), parity.TINY)


class Worker:
    """State of one worker process between requests."""

    def __init__(self, subject: Subject, task: dict[str, Any], say: Callable[..., object]) -> None:
        self.subject, self.say = subject, say
        self.device = DEVICES[subject.device]()
        # Never torch.set_num_threads(): it also sets MKL's number for this thread, and SDPA at sequence 128 was
        # some 15 % slower (python -m bench.evidence.threads). OMP_NUM_THREADS does it.
        if task["laboratory"] and torch.get_num_threads() != subject.threads:
            raise Misbehaved(
                f"torch runs {torch.get_num_threads()} threads, the laboratory asked for {subject.threads}"
            )
        subject.threads = torch.get_num_threads()
        subject.stream = self.device.stream
        precision.apply(subject.dtype_name)
        torch.set_flush_denormal(False)
        self.settings = facts.settings()
        self.feeds: list[Any] = []  # the inputs as the backend takes them

    def ready(self) -> dict[str, Any]:
        """Nothing: that it answers is the answer."""
        return {}

    def conditions(self) -> dict[str, Any]:
        """What this process really got, for the doctor."""
        return {"asked": laboratory.asked(), "settings": self.settings} | conditions.found()

    def reference(self, backends: dict[str, str], given: str | None = None, mutate: bool = False) -> dict[str, Any]:
        """Make what the group's cells need; see ``bench.reference``."""
        folder = None if given is None else Scratch(Path(given))
        return reference.make(self.subject, backends, self.say, folder, mutate)

    def open(self, module: str) -> dict[str, Any]:
        """Prepare the backend (``module`` is its file) and check its answers.

        Returns a part of the record: plain data.
        """
        part, answers = self._prepare(module)
        self.say("comparing with the reference")
        part |= self._check(answers)
        self.feeds = self.feeds[:CHECKED_SETS]
        self.expected = answers[:CHECKED_SETS]
        self._settle()
        return part

    def examine(self, batch_invariance: bool) -> dict[str, Any]:
        """Collect evidence of what was opened, once a run: which kernels, how accurate, whether it leaks.

        Returns a part of the record whose ``facts`` come beside those that ``open`` gave.
        """
        gc.enable()  # garbage of a training is no leak
        found: dict[str, Any] = {}
        part: dict[str, Any] = {"facts": found}
        with self.prepared.guard():
            if (kernels := self.prepared.kernels(self.feeds[0])) is not None:
                found["sdpa_kernels"] = kernels
            if batch_invariance and self.subject.case["mode"] == "inference":
                found |= self._batch_invariance(self.expected[0])
            if training := self.prepared.training:
                clock, synchronize = self.device.clock, self.device.synchronize
                found["step_seconds"] = training.parts(self.feeds[0], clock, synchronize)
            if self.subject.case["evaluate"] and self.agrees:
                judged = self._learn() if self.prepared.training else self._evaluate()
                found |= judged.pop("facts", {})
                part |= judged
            if (calls := self.subject.case["soak"]) and self.agrees and "status" not in part:
                part |= self._soak(calls, found)
        self._settle()
        return part

    def reopen(self, module: str) -> dict[str, Any]:
        """Prepare a backend that an earlier worker has opened and left answers of (``keep``): those must come again.

        The first is asked for here; the others are when they are timed, a random one of every block.
        """
        part, (answer,) = self._prepare(module, sets=CHECKED_SETS, answered=1)
        kept = self.subject.scratch.load_answers(self._kept)
        assert kept is not None
        self.expected, self.allowed = kept, self.subject.scratch.load(self._kept)["allowed"]
        self._verify(answer, 0, "in another process of the same code")
        self._settle()
        return part | {"status": str(Status.OK)}

    def keep(self) -> dict[str, Any]:
        """Leave the answers that timed ones are compared with in the group's folder, for ``reopen`` and ``against``."""
        self.subject.scratch.save_answers(self._kept, self.expected)
        self.subject.scratch.save(self._kept, {"allowed": self.allowed})
        return {}

    @property
    def _kept(self) -> str:
        return f"timed-{self.subject.backend}"

    def _prepare(
        self, module: str, sets: int | None = None, answered: int | None = None
    ) -> tuple[dict[str, Any], list[list[np.ndarray[Any, Any]]]]:
        """Make the backend ready for so many input sets, have it answer so many of them; all without a number."""
        subject = self.subject
        self.say("loading inputs")
        self.inputs = subject.raw_inputs()[:sets]
        gc.collect()
        self.device.reset_peak()
        self.say("preparing the model")
        started = time.perf_counter()
        self.prepared = importlib.import_module(module).prepare(subject)
        if subject.case["preprocess"]:
            model, kernels, feed = self.prepared.call, self.prepared.kernels, self.prepared.feed
            self.prepared.call = lambda raw: model(feed(subject.encode(raw)))
            self.prepared.kernels = lambda raw: kernels(feed(subject.encode(raw)))
            self.prepared.feed, self.prepared.resizable = lambda raw: raw, False
        elif subject.written and not self.prepared.reads_only:  # every call begins with inputs as they were
            model, kernels = self.prepared.call, self.prepared.kernels
            self.prepared.call = lambda fed: model(nest.fresh(fed))
            self.prepared.kernels = lambda fed: kernels(nest.fresh(fed))
        with self.prepared.guard():
            self.feeds = [self.prepared.feed(inputs) for inputs in self.inputs]
            before = _bits(self.inputs)
            first_call = time.perf_counter()
            raw = self.prepared.call(self.feeds[0])
            self.device.synchronize()
            ready = time.perf_counter()
            self.say("answering the checked inputs")
            answers = [self._read(raw)]
            for number, fed in enumerate(self.feeds[1:answered], start=1):
                if ready - first_call > SLOW:
                    left = len(self.feeds[:answered]) - number
                    self.say("answering the checked inputs", calls=number, seconds=left * 3 * (ready - first_call))
                answers.append(self._answer(fed))
            if self.prepared.reset is not None:
                self.prepared.reset()
            if _bits(self.inputs) != before:
                raise Misbehaved("writes into its inputs, which eager leaves as they are")
        del raw
        peak = self.device.peak_bytes()
        found = self.prepared.facts()
        changed = {k: (v, now) for k, v in self.settings.items() if (now := facts.settings()[k]) != v}
        if changed:
            raise Misbehaved(f"settings changed while preparing (was, is): {changed}; all backends must share them")
        part = {
            "prepare_seconds": ready - started,
            "first_call_seconds": ready - first_call,
            "peak_bytes": peak,
            "facts": found | {"settings": self.settings} | self.device.facts(),
        }
        return part, answers

    def _settle(self) -> None:
        """Nothing is collected from here on: a collection in the measured loop would be measured."""
        self.stopwatch = Stopwatch(self.device, self.prepared.call, self.feeds, self.subject.case["cold_cache"])
        self.device.empty_cache()
        gc.collect()
        gc.freeze()
        gc.disable()

    def block(self, calls: int, samples: int, keep: int, planted: float = 0.0) -> dict[str, Any]:
        """Time one block; see ``bench.stopwatch``. Returns seconds per call for each sample, and the device's gauge.

        Sample ``keep``'s last output is compared with what the check saw for the same input: a fast wrong
        answer has no speed.
        """
        prepared = self.prepared
        with prepared.guard(), prepared.steady():
            if prepared.reset is not None:
                prepared.reset()  # every block begins with the same weights and the same state
            times, raw, which, seen = self.stopwatch.block(calls, samples, keep, planted, self._read)
            if prepared.reset is not None:  # what was answered followed from many calls: asked from the start
                raw = self._answer(self.feeds[which])
        self._verify(raw, which)
        gc.collect()
        return {"times": times} | seen

    def against(self, folder: str) -> dict[str, Any]:
        """How far these answers are from those that another revision's worker kept in its group's folder."""
        theirs = Scratch(Path(folder)).load_answers(self._kept)
        assert theirs is not None
        outcome = parity.compare(self.expected, theirs, None, self.subject.tolerance, self.subject.common)
        pairs = [
            pair for ours, other in zip(self.expected, theirs, strict=True) for pair in zip(ours, other, strict=False)
        ]
        same = all(a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)
        return {"identical": same, "error": outcome.error, "allowed": self.allowed, "reason": outcome.problem}

    def profile(self) -> dict[str, Any]:
        """Seconds by operator of a call: where a slowdown is."""
        with self.prepared.guard():
            return {"operators": facts.operator_times(lambda: self.prepared.call(self.feeds[0]), self.subject.device)}

    def finish(self, energy_seconds: float = 0.0) -> dict[str, Any]:
        """The evidence after the last block, and what the device alone can tell of a call.

        ``device_seconds``: how long it works on one, by its own clock; much less than the call takes where it waits
        for the host to launch its work. ``joules``: what one costs, over ``energy_seconds`` of calls, 0 for not asked.
        """
        found = self.prepared.facts()
        with self.prepared.guard(), self.prepared.steady():
            if self.prepared.queued and self.device.flush():
                found["device_seconds"] = self.stopwatch.device_seconds()
            if energy_seconds and (joules := self.stopwatch.joules(energy_seconds)) is not None:
                found["joules"] = joules
        return {"facts": found}

    def _answer(self, feed: Any) -> list[np.ndarray[Any, Any]]:
        """The answer to an input from the initial state."""
        if self.prepared.reset is not None:
            self.prepared.reset()
        return self._read(self.prepared.call(feed))

    def close(self) -> dict[str, Any]:
        """End what the backend has started."""
        if hasattr(self.prepared.model, "close"):
            self.prepared.model.close()
        return {}

    def _read(self, raw: Any) -> list[np.ndarray[Any, Any]]:
        outputs = self.prepared.read(raw)
        self.dtypes = [str(t.dtype) for t in outputs]
        return arrays(outputs)

    def _check(self, answers: list[list[np.ndarray[Any, Any]]]) -> dict[str, Any]:
        subject = self.subject
        eager = subject.scratch.load_answers("eager")
        exact = subject.scratch.load_answers("reference")
        assert eager is not None
        outcome = self._compared(answers)
        self.allowed = outcome.allowed
        curve = self._check_curve()
        if curve is not None and curve.share > outcome.share:
            outcome = replace(curve, problem=curve.problem and f"loss curve: {curve.problem}")
        expected = subject.scratch.load("meta")["dtypes"]
        agrees, reason = outcome.agrees, outcome.explain()
        self.max_abs = outcome.max_abs
        if exact is None and subject.case["reference"] == "float64":
            raise Misbehaved("the float64 reference is missing")  # never judged by a weaker rule instead
        if self.dtypes != expected and len(self.dtypes) == len(expected):  # by name: numpy lacks some
            agrees, reason = False, f"output dtypes are {self.dtypes}, eager's are {expected}"
        status = Status.OK if agrees else Status.PARITY_FAILED
        if outcome.undetermined:
            status = Status.UNCHECKED
            reason = f"a gradient jumps here, with another --bench-seed it may not: rounding alone explains {reason}"
        elif outcome.nothing and agrees:
            status, agrees, reason = Status.UNCHECKED, False, f"nothing to compare: {outcome.explain()}"
        elif not agrees and outcome.worst:
            reason += self._only_padding(answers, eager, exact, outcome)
        self.agrees = status is Status.OK
        return {
            "status": str(status),
            "reason": "" if agrees else reason,
            "error": outcome.error,
            "error_allowed": outcome.allowed,
            "error_share": outcome.share,
            "eager_error": outcome.eager_error,
            "max_abs_error": outcome.max_abs,
            "reference": "eager" if exact is None else "float64",
            "top1_agreement": labelled.top1(answers, eager),
            "parity": outcome.as_dict(),
        }

    def _only_padding(self, answers: Sets, eager: Sets, exact: Sets | None, outcome: parity.Parity) -> str:
        """A sentence where all that is wrong lies where an input masks padding, else ""."""
        subject, output = self.subject, outcome.worst["output"]
        shape = eager[0][output].shape
        sets = [subject.encode(raw) for raw in self.inputs]
        for number, (path, _) in enumerate(masks.padding(sets[0], shape)):
            kept = [masks.padding(inputs, shape) for inputs in sets]
            if any(len(found) <= number for found in kept):
                continue
            only = [[found[number][1] if n == output else None for n in range(len(eager[0]))] for found in kept]
            if parity.compare(answers, eager, exact, subject.tolerance, subject.common, masks=only).agrees:
                return (
                    f". All of it lies at positions that the input {path!r} masks: if nobody reads them, declare "
                    f"mask={int(path) if path.isdigit() else path!r}, or which ones count by output_mask="
                )
        return ""

    def _check_curve(self) -> parity.Parity | None:
        """How the losses of a short training compare, None where nothing is trained."""
        if self.prepared.training is None:
            return None
        self.say("training some steps")
        scratch, training = self.subject.scratch, self.prepared.training
        eager, exact = scratch.load_answers("curve-eager"), scratch.load_answers("curve-reference")
        assert eager is not None
        return parity.compare([arrays(training.curve(self.feeds))], eager, exact, self.subject.tolerance)

    def _verify(self, timed: list[NDArray[Any]], which: int, when: str = "while timed") -> None:
        """Raise ``Misbehaved`` where an answer is not the checked answer to the same input, nor agrees itself."""
        expected = self.expected[which]
        alike = zip(timed, expected, strict=True)
        if all(now.shape == then.shape and _equal(now, then) for now, then in alike):
            return
        for output, (now, then) in enumerate(zip(timed, expected, strict=True)):
            if now.shape == then.shape and not (far := _distance(now, then)) <= 2 * self.allowed:
                raise Misbehaved(
                    f"wrong answer {when} to input set {which}, unlike the checked one: output {output} is {far:.3g} "
                    f"away from it (allowed {2 * self.allowed:.3g})"
                )
        outcome = self._compared([timed], slice(which, which + 1))
        if not (outcome.agrees or outcome.undetermined):
            raise Misbehaved(f"wrong answer {when} to input set {which}, unlike the checked one: {outcome.explain()}")

    def _compared(self, answers: Sets, which: slice = slice(None)) -> parity.Parity:
        """How answers to some input sets compare with the reference."""
        scratch, subject = self.subject.scratch, self.subject
        eager, exact = scratch.load_answers("eager"), scratch.load_answers("reference")
        assert eager is not None
        jumps = scratch.load("jumps") if scratch.has("jumps") else ()
        kept = scratch.load("masks")[which] if scratch.has("masks") else None
        exact = None if exact is None else exact[which]
        outcome = parity.compare(answers, eager[which], exact, subject.tolerance, subject.common, jumps, kept)
        if not outcome.part or outcome.agrees or subject.case["mode"] != "inference" or exact is None:
            return outcome
        self.say("looking twice at a part that seems wrong")
        twins = [twin[which] for twin in second_look.twins(subject)]
        again = parity.compare(answers, eager[which], exact, subject.tolerance, subject.common, jumps, kept, twins)
        return replace(again, second_look=True)

    def _batch_invariance(self, full: list[np.ndarray[Any, Any]]) -> dict[str, Any]:
        """How far row i of a batch is from the same row alone; left out where a batch of one cannot be cut."""
        batch = self.subject.sizes.get("batch", 1)
        if batch < 2 or not self.prepared.resizable:
            return {}
        row = batch // 2
        with torch.inference_mode(False):  # like the inputs that were loaded: another kind of tensor recompiles
            leaves = [
                leaf[row : row + 1] if torch.is_tensor(leaf) and leaf.ndim and leaf.shape[0] == batch else leaf
                for leaf in nest.flatten(self.inputs[0])
            ]
        try:
            alone = self._answer(self.prepared.feed(nest.rebuild(self.inputs[0], leaves)))
        except Exception as error:  # a fact that cannot be had; the reason is the fact
            return {"batch_invariance_error": status_of(error)[1]}
        off = 0.0
        for one, many in zip(alone, full, strict=True):
            if many.ndim and many.shape[0] == batch:
                norm = max(float(np.linalg.norm(many[row].astype(np.float64))), parity.TINY)
                off = max(off, float(np.linalg.norm(one[0].astype(np.float64) - many[row])) / norm)
        return {"batch_invariance": off}

    def _evaluate(self) -> dict[str, Any]:
        """What answers to labelled samples are worth beside eager's."""
        self.say("answering labelled samples")
        kept = self.subject.scratch.load("evaluate")
        eager = self.subject.scratch.load_answers("evaluate")
        assert eager is not None
        prepared, total = self.prepared, len(kept["labels"])
        logits = labelled.in_batches(
            lambda inputs: self._read(prepared.call(prepared.feed(inputs)))[0],
            kept["inputs"], total, self.subject.sizes.get("batch", total),
        )  # fmt: skip
        labels, wanted = kept["labels"].numpy(), self.subject.case["accuracy"]
        return labelled.against_eager(logits, eager[0][0], labels, self.max_abs, wanted)

    def _learn(self) -> dict[str, Any]:
        """Accuracy on labelled samples after a whole training."""
        subject, training = self.subject, self.prepared.training
        assert training is not None
        self.say("learning")
        kept = subject.scratch.load("evaluate")
        with told_of("learn", subject.case["learn"]):
            made = resolve(subject.case["learn"])(dict(subject.sizes))
        steps = (self.prepared.feed(subject.cast(step)) for step in made)
        right = training.learn(steps, kept["inputs"]).argmax(1).cpu() == kept["labels"]
        return labelled.accuracy(right.numpy(), subject.case["accuracy"])

    def _soak(self, calls: int, found: dict[str, Any]) -> dict[str, Any]:
        """Many calls, after which no more memory is held; ``found`` are the facts that get to know how much."""
        self.say(f"calling {calls} times")
        feeds = self.feeds
        found["soak"] = soak.soak(
            lambda number: self.prepared.call(feeds[number % len(feeds)]), calls, self.device.held_bytes
        )
        reason = soak.leak(found["soak"])
        return {"status": str(Status.FAILED), "reason": reason} if reason else {}
