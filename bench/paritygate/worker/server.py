"""A worker: the process of one cell (or of one group's reference). The only caller of backends.

Answers the requests of ``paritygate.process.protocol`` over its channel; ``HANDLERS`` is the table.
The object that was checked is the object that is timed.
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

from paritygate.backends.contract import BackendError
from paritygate.core.record import Status
from paritygate.parity import rule
from paritygate.process import environment, protocol
from paritygate.process.channel import Channel
from paritygate.process.protocol import Request, Stage, decode
from paritygate.runtime import facts, nest, precision
from paritygate.runtime.devices import DEVICES
from paritygate.runtime.modes import CURVE
from paritygate.runtime.scratch import Scratch
from paritygate.runtime.subject import CHECKED_SETS, BoundCase, arrays, resolve, told_of
from paritygate.worker import check, evaluation, process_check, reference, soak
from paritygate.worker.calls import Calls, Say
from paritygate.worker.errors import failure_of, status_of
from paritygate.worker.stopwatch import Stopwatch


def main(channel: Channel, task: dict[str, Any]) -> None:
    """Answer requests until the pytest process closes the channel."""
    worker: Worker | None = None

    def say(stage: Stage, detail: object = "", **more: float) -> None:
        channel.send({"stage": stage, "detail": str(detail)} | more)

    while True:
        request = channel.receive()
        try:  # making it may fail as well: a GPU that is gone is a status of its cells
            worker = worker or Worker(BoundCase.of(task), task, say)
            with worker.device.guard():
                asked = decode(request)
                message = {"answer": vars(HANDLERS[type(asked)](worker, asked))}
        except Exception as error:
            message = {"failure": failure_of(error)}
        channel.send(message)


def _bits(inputs: list[Any]) -> list[int]:
    """A checksum of every tensor of some input sets."""
    leaves = [leaf for one in inputs for leaf in nest.as_tensors(nest.tensor_leaves(one))]
    return [
        zlib.crc32(np.ascontiguousarray(array).data)
        for array in arrays([leaf.detach().cpu() for leaf in leaves])
    ]


class Worker:
    """State of one worker process between requests."""

    def __init__(self, subject: BoundCase, task: dict[str, Any], say: Say) -> None:
        self.subject, self.say = subject, say
        self.device = DEVICES[subject.device]()
        # Never torch.set_num_threads(): it also sets MKL's number for this thread, and SDPA at
        # sequence 128 was some 15 % slower (python -m bench.evidence.threads). OMP_NUM_THREADS does
        # it.
        if task["laboratory"] and torch.get_num_threads() != subject.threads:
            raise BackendError(
                f"torch runs {torch.get_num_threads()} threads, the laboratory asked for {subject.threads}"
            )
        subject.threads = torch.get_num_threads()
        subject.stream = self.device.stream
        precision.apply(subject.dtype_name)
        torch.set_flush_denormal(False)
        self.settings = facts.settings()
        self.feeds: list[Any] = []  # the inputs as the backend takes them

    def ready(self, _asked: protocol.AskReady) -> protocol.Nothing:
        """Nothing: that it answers is the answer."""
        return protocol.Nothing()

    def conditions(self, _asked: protocol.AskConditions) -> protocol.Conditions:
        """What this process really got, for the doctor."""
        return protocol.Conditions(environment.asked(), self.settings, **process_check.found())

    def reference(self, asked: protocol.MakeReference) -> protocol.Reference:
        """Make what the group's cells need; see ``paritygate.worker.reference``."""
        folder = None if asked.given is None else Scratch(Path(asked.given))
        return reference.make(self.subject, asked.backends, self.say, folder, asked.mutate)

    def open(self, asked: protocol.Open) -> protocol.Opened:
        """Prepare the backend and check its answers.

        ``again``: the first answer must be what an earlier worker kept; the others are checked when
        they are timed, a random one of every block.
        """
        if asked.again:
            part, (answer,) = self._prepare(asked.module, sets=CHECKED_SETS, answered=1)
            kept = self.subject.scratch.load_answers(self._kept)
            assert kept is not None
            self.expected, self.allowed = kept, self.subject.scratch.load(self._kept)["allowed"]
            self._verify(answer, 0, "in another process of the same code")
            self._settle()
            return protocol.Opened(**part, status=str(Status.OK))
        part, answers = self._prepare(asked.module)
        self.say(Stage.COMPARING)
        compared = self._check(answers)
        self.feeds = self.feeds[:CHECKED_SETS]
        self.expected = answers[:CHECKED_SETS]
        self._settle()
        return protocol.Opened(**part, **compared)

    def examine(self, asked: protocol.Examine) -> protocol.Examined:
        """Collect evidence of what was opened, once a run: which kernels, how accurate, whether it
        leaks. Its facts come beside those of ``open``.
        """
        gc.enable()  # garbage of a training is no leak
        found: dict[str, Any] = {}
        part: dict[str, Any] = {}
        with self.prepared.context():
            if (kernels := self.prepared.kernels(self.feeds[0])) is not None:
                found["sdpa_kernels"] = kernels
            if asked.batch_invariance and self.subject.case.mode == "inference":
                found |= self._batch_invariance(self.expected[0])
            if training := self.prepared.training:
                clock, synchronize = self.device.clock, self.device.synchronize
                found["step_seconds"] = training.parts(self.feeds[0], clock, synchronize)
            if self.subject.case.evaluate and self.agrees:
                judged = self._learn() if self.prepared.training else self._evaluate()
                found |= judged.pop("facts", {})
                part |= judged
            if (calls := self.subject.case.soak) and self.agrees and "status" not in part:
                part |= self._soak(calls, found)
        self._settle()
        return protocol.Examined(found, **part)

    def keep(self, _asked: protocol.Keep) -> protocol.Nothing:
        """Leave the answers that timed ones are compared with in the group's folder."""
        self.subject.scratch.save_answers(self._kept, self.expected)
        self.subject.scratch.save(self._kept, {"allowed": self.allowed})
        return protocol.Nothing()

    @property
    def _kept(self) -> str:
        return f"timed-{self.subject.backend}"

    def _prepare(
        self, module: str, sets: int | None = None, answered: int | None = None
    ) -> tuple[dict[str, Any], check.Sets]:
        """Make the backend ready for so many input sets, have it answer so many of them; all
        without a number.
        """
        subject = self.subject
        self.say(Stage.LOADING)
        self.inputs = subject.raw_inputs()[:sets]
        gc.collect()
        self.device.reset_peak()
        self.say(Stage.PREPARING)
        started = time.perf_counter()
        self.prepared = importlib.import_module(module).prepare(subject)
        if subject.case.preprocess:
            model, kernels, feed = (
                self.prepared.call,
                self.prepared.kernels,
                self.prepared.to_inputs,
            )
            self.prepared.call = lambda raw: model(feed(subject.encode(raw)))
            self.prepared.kernels = lambda raw: kernels(feed(subject.encode(raw)))
            self.prepared.to_inputs, self.prepared.resizable = lambda raw: raw, False
        elif subject.written and not self.prepared.reads_only:
            # every call begins with inputs as they were
            model, kernels = self.prepared.call, self.prepared.kernels
            self.prepared.call = lambda fed: model(nest.fresh(fed))
            self.prepared.kernels = lambda fed: kernels(nest.fresh(fed))
        with self.prepared.context():
            self.feeds = [self.prepared.to_inputs(inputs) for inputs in self.inputs]
            before = _bits(self.inputs)
            first_call = time.perf_counter()
            raw = self.prepared.call(self.feeds[0])
            self.device.synchronize()
            ready = time.perf_counter()
            calls = Calls(self.say, ready - first_call)
            calls.begin(Stage.ANSWERING, len(self.feeds[:answered]))
            calls.done()
            answers = [self._read(raw)]
            for fed in self.feeds[1:answered]:
                answers.append(self._answer(fed))
                calls.done()
            if self.prepared.reset is not None:
                self.prepared.reset()
            if _bits(self.inputs) != before:
                raise BackendError("writes into its inputs, which eager leaves as they are")
        del raw
        peak = self.device.peak_bytes()
        found = self._facts()
        changed = {
            k: (v, now) for k, v in self.settings.items() if (now := facts.settings()[k]) != v
        }
        if changed:
            raise BackendError(
                f"settings changed while preparing (was, is): {changed}; all backends must share them"
            )
        part = {
            "prepare_seconds": ready - started,
            "first_call_seconds": ready - first_call,
            "peak_bytes": peak,
            "facts": found | {"settings": self.settings} | self.device.facts(),
            "cold": self._cold,
        }
        return part, answers

    def _facts(self) -> dict[str, Any]:
        """The backend's facts; ``cold`` is none of the cell, it says that this process compiled."""
        found = dict(self.prepared.facts())
        self._cold = bool(found.pop("cold", False))
        return found

    def _settle(self) -> None:
        """Nothing is collected from here on: a collection in the measured loop would be
        measured.
        """
        self.stopwatch = Stopwatch(
            self.device, self.prepared.call, self.feeds, self.subject.case.cold_cache
        )
        self.device.empty_cache()
        gc.collect()
        gc.freeze()
        gc.disable()

    def block(self, asked: protocol.Block) -> protocol.Timed:
        """Time one block; see ``paritygate.worker.stopwatch``.

        Sample ``keep``'s last output is compared with what the check saw for the same input: a fast
        wrong answer has no speed.
        """
        prepared = self.prepared
        with prepared.context(), prepared.steady_context():
            if prepared.reset is not None:
                prepared.reset()  # every block begins with the same weights and the same state
            times, raw, which, seen = self.stopwatch.block(
                asked.calls, asked.samples, asked.keep, asked.planted, self._read
            )
            # what was answered followed from many calls: asked from the start
            if prepared.reset is not None:
                raw = self._answer(self.feeds[which])
        self._verify(raw, which)
        gc.collect()
        return protocol.Timed(times, **seen)

    def compare_with(self, asked: protocol.CompareWith) -> protocol.Compared:
        """How far these answers are from those that another revision's worker kept in its group's
        folder.
        """
        theirs = Scratch(Path(asked.folder)).load_answers(self._kept)
        assert theirs is not None
        outcome = rule.compare(
            self.expected, theirs, None, self.subject.tolerance, self.subject.common
        )
        same = all(
            check.identical(ours, other) for ours, other in zip(self.expected, theirs, strict=True)
        )
        return protocol.Compared(same, outcome.error, self.allowed, outcome.problem)

    def profile(self, _asked: protocol.AskProfile) -> protocol.Profile:
        """Seconds by operator of a call: where a slowdown is."""
        with self.prepared.context():
            return protocol.Profile(
                facts.operator_times(lambda: self.prepared.call(self.feeds[0]), self.subject.device)
            )

    def finish(self, asked: protocol.Finish) -> protocol.Facts:
        """The evidence after the last block, and what the device alone can tell of a call.

        ``device_seconds``: how long it works on one, by its own clock; much less than the call
        takes where it waits for the host to launch its work. ``joules``: what one costs, over
        ``energy_seconds`` of calls, 0 for not asked.
        """
        found = self._facts()
        with self.prepared.context(), self.prepared.steady_context():
            if self.prepared.asynchronous and self.device.flush():
                found["device_seconds"] = self.stopwatch.device_seconds()
            seconds = asked.energy_seconds
            if seconds and (joules := self.stopwatch.joules(seconds)) is not None:
                found["joules"] = joules
        return protocol.Facts(found)

    def _answer(self, feed: Any) -> check.Answer:
        """The answer to an input from the initial state."""
        if self.prepared.reset is not None:
            self.prepared.reset()
        return self._read(self.prepared.call(feed))

    def close(self, _asked: protocol.Close) -> protocol.Nothing:
        """End what the backend has started."""
        if hasattr(self.prepared.model, "close"):
            self.prepared.model.close()
        return protocol.Nothing()

    def _read(self, raw: Any) -> check.Answer:
        outputs = self.prepared.to_tensors(raw)
        self.dtypes = [str(t.dtype) for t in outputs]
        return arrays(outputs)

    def _check(self, answers: check.Sets) -> dict[str, Any]:
        outcome = check.judge(self.subject, answers)
        self.allowed, self.max_abs = outcome.allowed, outcome.max_abs
        curve = self._check_curve()
        if curve is not None and curve.share > outcome.share:
            outcome = replace(curve, problem=curve.problem and f"loss curve: {curve.problem}")
        status, reason = check.verdict(self.subject, outcome, self.dtypes, answers)
        self.agrees = status is Status.OK
        eager = self.subject.scratch.load_answers("eager")
        assert eager is not None
        return {
            "status": str(status),
            "reason": reason,
            "error": outcome.error,
            "error_allowed": outcome.allowed,
            "error_share": outcome.share,
            "eager_error": outcome.eager_error,
            "max_abs_error": outcome.max_abs,
            "reference": self.subject.case.reference,
            "top1_agreement": evaluation.top1(answers, eager),
            "parity": outcome.as_dict(),
        }

    def _check_curve(self) -> rule.Parity | None:
        """How the losses of a short training compare, None where nothing is trained."""
        if self.prepared.training is None:
            return None
        calls = Calls(self.say)
        calls.begin(Stage.TRAINING_STEPS, CURVE)
        scratch, training = self.subject.scratch, self.prepared.training
        eager, exact = scratch.load_answers("curve-eager"), scratch.load_answers("curve-reference")
        assert eager is not None
        return rule.compare(
            [arrays(training.curve(self.feeds, calls.done))], eager, exact, self.subject.tolerance
        )

    def _verify(self, timed: check.Answer, which: int, when: str = "while timed") -> None:
        """Raise ``BackendError`` where an answer is neither the checked answer to the same input
        nor as good.
        """
        check.verify(self.subject, timed, self.expected[which], which, self.allowed, when)

    def _batch_invariance(self, full: check.Answer) -> dict[str, Any]:
        """How far row i of a batch is from the same row alone; left out where a batch of one cannot
        be cut.
        """
        batch = self.subject.sizes.get("batch", 1)
        if batch < 2 or not self.prepared.resizable:
            return {}
        row, off = batch // 2, 0.0

        def of_row(leaf: torch.Tensor) -> torch.Tensor:
            return leaf[row : row + 1] if leaf.ndim and leaf.shape[0] == batch else leaf

        try:
            # like the inputs that were loaded: another kind of tensor recompiles
            with torch.inference_mode(False):
                cut = nest.mapped(self.inputs[0], of_row)
            alone = self._answer(self.prepared.to_inputs(cut))
            for one, many in zip(alone, full, strict=True):
                if many.ndim and many.shape[0] == batch:
                    norm = max(float(np.linalg.norm(many[row].astype(np.float64))), rule.TINY)
                    off = max(
                        off, float(np.linalg.norm(one[0].astype(np.float64) - many[row])) / norm
                    )
        except Exception as error:  # a fact that cannot be had; the reason is the fact
            return {"batch_invariance_error": status_of(error)[1]}
        return {"batch_invariance": off}

    def _evaluate(self) -> dict[str, Any]:
        """What answers to labelled samples are worth beside eager's."""
        self.say(Stage.SAMPLES)
        kept = self.subject.scratch.load("evaluate")
        eager = self.subject.scratch.load_answers("evaluate")
        assert eager is not None
        prepared, total = self.prepared, len(kept["labels"])
        logits = evaluation.in_batches(
            lambda inputs: self._read(prepared.call(prepared.to_inputs(inputs)))[0],
            kept["inputs"],
            total,
            self.subject.sizes.get("batch", total),
        )
        labels, wanted = kept["labels"].numpy(), self.subject.case.accuracy
        return evaluation.against_eager(logits, eager[0][0], labels, self.max_abs, wanted)

    def _learn(self) -> dict[str, Any]:
        """Accuracy on labelled samples after a whole training."""
        subject, training = self.subject, self.prepared.training
        assert training is not None
        self.say(Stage.LEARNING)
        kept = subject.scratch.load("evaluate")
        location = subject.case.train_data
        assert location is not None  # a training case that is evaluated learns
        with told_of("train_data", location):
            made = resolve(location)(dict(subject.sizes))
        steps = (self.prepared.to_inputs(subject.cast(step)) for step in made)
        right = training.learn(steps, kept["inputs"]).argmax(1).cpu() == kept["labels"]
        return evaluation.accuracy(right.numpy(), subject.case.accuracy)

    def _soak(self, calls: int, found: dict[str, Any]) -> dict[str, Any]:
        """Many calls, after which no more memory is held; ``found`` are the facts that get to know
        how much.
        """
        self.say(Stage.SOAKING, calls)
        feeds = self.feeds
        found["soak"] = soak.soak(
            lambda number: self.prepared.call(feeds[number % len(feeds)]),
            calls,
            self.device.held_bytes,
        )
        reason = soak.leak(found["soak"])
        return {"status": str(Status.FAILED), "reason": reason} if reason else {}


HANDLERS: dict[type[Request[Any]], Callable[[Worker, Any], Any]] = {
    protocol.AskReady: Worker.ready,
    protocol.AskConditions: Worker.conditions,
    protocol.MakeReference: Worker.reference,
    protocol.Open: Worker.open,
    protocol.Examine: Worker.examine,
    protocol.Keep: Worker.keep,
    protocol.Block: Worker.block,
    protocol.CompareWith: Worker.compare_with,
    protocol.AskProfile: Worker.profile,
    protocol.Finish: Worker.finish,
    protocol.Close: Worker.close,
}
