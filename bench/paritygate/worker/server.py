"""A worker: the process of one cell, or of one group's reference. The only caller of backends.

It answers the requests of ``paritygate.process.protocol`` over its channel; the table is
``HANDLERS``. It times the same object that it checked.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from paritygate.backends.contract import BackendError
from paritygate.core.record import Status
from paritygate.parity import rule
from paritygate.process import environment, protocol
from paritygate.process.channel import Channel
from paritygate.process.protocol import Request, Stage, decode
from paritygate.runtime import facts, precision
from paritygate.runtime.devices import DEVICES
from paritygate.runtime.modes import CURVE
from paritygate.runtime.scratch import Scratch
from paritygate.runtime.subject import CHECKED_SETS, BoundCase, arrays
from paritygate.worker import audit, check, evaluation, examination, process_check, reference
from paritygate.worker.calls import Calls, Say
from paritygate.worker.errors import failure_of
from paritygate.worker.opened import OpenedModel, open_model
from paritygate.worker.stopwatch import Stopwatch


def main(channel: Channel, task: dict[str, Any]) -> None:
    """Answer requests until the pytest process closes the channel."""
    worker: Worker | None = None

    def say(stage: Stage, detail: object = "", **more: float) -> None:
        channel.send({"stage": stage, "detail": str(detail)} | more)

    while True:
        request = channel.receive()
        try:  # making the worker may fail as well: a GPU that is gone is a status of its cells
            worker = worker or Worker(BoundCase.from_task(task), task, say)
            with worker.device.guard():
                asked = decode(request)
                message = {"answer": vars(HANDLERS[type(asked)](worker, asked))}
        except Exception as error:
            message = {"failure": failure_of(error)}
        channel.send(message)


class Worker:
    """The state of one worker process between requests. Each request has a handler, so there are
    many public methods.
    """

    def __init__(self, subject: BoundCase, task: dict[str, Any], say: Say) -> None:
        self.subject, self._say = subject, say
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

    def ready(self, _asked: protocol.AskReady) -> protocol.Nothing:
        """Return nothing: the answer itself shows that the worker is ready."""
        return protocol.Nothing()

    def conditions(self, _asked: protocol.AskConditions) -> protocol.Conditions:
        """Return the conditions that this process really got, for the doctor."""
        return protocol.Conditions(environment.asked(), self.settings, **process_check.found())

    def reference(self, asked: protocol.MakeReference) -> protocol.Reference:
        """Make what the group's cells need; see ``paritygate.worker.reference``."""
        folder = None if asked.given is None else Scratch(Path(asked.given))
        return reference.make(self.subject, asked.backends, self._say, folder, asked.mutate)

    def open(self, asked: protocol.Open) -> protocol.Opened:
        """Prepare the backend and check its answers.

        ``again``: the first answer must be the one that an earlier worker kept. The others are
        checked when they are timed, a random one of every block.
        """
        if asked.again:
            self.opened, (answer,), cost = self._open(asked.module, CHECKED_SETS, answered=1)
            kept = self.subject.scratch.load_answers(self._kept)
            assert kept is not None
            self.expected, self.allowed = kept, self.subject.scratch.load(self._kept)["allowed"]
            self._verify(answer, 0, "in another process of the same code")
            self._settle()
            return protocol.Opened(**cost, status=str(Status.OK))
        self.opened, answers, cost = self._open(asked.module)
        self._say(Stage.COMPARING)
        compared = self._check(answers)
        self.opened.feeds = self.opened.feeds[:CHECKED_SETS]
        self.expected = answers[:CHECKED_SETS]
        self._settle()
        return protocol.Opened(**cost, **compared)

    def examine(self, asked: protocol.Examine) -> protocol.Examined:
        """Collect evidence of the opened cell, once a run: its kernels, its accuracy, its leaks.

        These facts are added to those of ``open``.
        """
        gc.enable()  # garbage of a training is no leak
        found: dict[str, Any] = {}
        part: dict[str, Any] = {}
        opened, case = self.opened, self.subject.case
        with opened.prepared.context():
            if (kernels := opened.prepared.kernels(opened.feeds[0])) is not None:
                found["sdpa_kernels"] = kernels
            if asked.batch_invariance and case.mode == "inference":
                found |= examination.batch_invariance(opened, self.expected[0])
            if training := opened.prepared.training:
                clock, synchronize = self.device.clock, self.device.synchronize
                found["step_seconds"] = training.parts(opened.feeds[0], clock, synchronize)
            if case.evaluate and self._agrees:
                part = (
                    examination.learnt(opened, self._say)
                    if training
                    else examination.evaluated(opened, self._say, self._max_abs)
                )
                found |= part.pop("facts", {})
            if case.soak and self._agrees and "status" not in part:
                kept, ended = examination.soaked(opened, self._say, self.device)
                found, part = found | kept, part | ended
        self._settle()
        return protocol.Examined(found, **part)

    def keep(self, _asked: protocol.Keep) -> protocol.Nothing:
        """Save the answers that timed ones are compared with, in the group's folder."""
        self.subject.scratch.save_answers(self._kept, self.expected)
        self.subject.scratch.save(self._kept, {"allowed": self.allowed})
        return protocol.Nothing()

    @property
    def _kept(self) -> str:
        return f"timed-{self.subject.backend}"

    def _open(
        self, module: str, sets: int | None = None, answered: int | None = None
    ) -> tuple[OpenedModel, check.Sets, dict[str, Any]]:
        return open_model(
            self.subject, self.device, module, self.settings, self._say, sets, answered
        )

    def _settle(self) -> None:
        """Make the stopwatch and switch garbage collection off, so that no collection runs in the
        measured loop.
        """
        opened, cold = self.opened, self.subject.case.cold_cache
        self.stopwatch = Stopwatch(self.device, opened.prepared.call, opened.feeds, cold)
        self.device.empty_cache()
        gc.collect()
        gc.freeze()
        gc.disable()

    def block(self, asked: protocol.Block) -> protocol.Timed:
        """Time one block; see ``paritygate.worker.stopwatch``.

        The last output of sample ``keep`` is compared with the checked answer to the same input: a
        fast wrong answer has no speed.
        """
        opened, prepared = self.opened, self.opened.prepared
        with prepared.context(), prepared.steady_context():
            if prepared.reset is not None:
                prepared.reset()  # every block begins with the same weights and the same state
            times, raw, which, seen = self.stopwatch.block(
                asked.calls, asked.samples, asked.keep, asked.planted, opened.read
            )
            # the timed answer depends on many earlier calls: ask again from the initial state
            if prepared.reset is not None:
                raw = opened.answer(opened.feeds[which])
        self._verify(raw, which)
        gc.collect()
        return protocol.Timed(times, **seen)

    def audit_clock(self, asked: protocol.AuditClock) -> protocol.Clocked:
        """Time some calls while the pytest process looks at its own clock."""
        with self.opened.prepared.context(), self.opened.prepared.steady_context():
            seconds = self.stopwatch.claimed(asked.calls, asked.samples)
        return protocol.Clocked(seconds, audit.replaced_clocks(self.device))

    def audit_work(self, _asked: protocol.AuditWork) -> protocol.Audited:
        """Fail if calls do not do the work that their times stand for."""
        with self.opened.prepared.context(), self.opened.prepared.steady_context():
            left_out = audit.require_work(self.opened, self.expected, self.allowed, self.device)
        return protocol.Audited(left_out)

    def compare_with(self, asked: protocol.CompareWith) -> protocol.Compared:
        """Compare these answers with those that another revision's worker kept in its group's
        folder, and judge those as if they were a backend's of this revision.
        """
        other = Scratch(Path(asked.folder))
        theirs = other.load_answers(self._kept)
        assert theirs is not None
        if all(check.identical(one, two) for one, two in zip(self.expected, theirs, strict=True)):
            return protocol.Compared(True, 0.0, "")
        distance = rule.compare(
            theirs, self.expected, None, self.subject.tolerance, self.subject.gradient_start
        )
        changed = self._changed(theirs, other.load("meta")["dtypes"])
        return protocol.Compared(False, distance.error, changed)

    def _changed(self, theirs: check.Sets, dtypes: list[str]) -> str:
        outcome = check.judge(self.subject, theirs, slice(len(theirs)))
        own = self.subject.scratch.load("meta")["dtypes"]
        if dtypes != own and len(dtypes) == len(own):
            return f"output dtypes are {dtypes}, base's are {own}"
        return "" if outcome.agrees or outcome.undetermined else outcome.explain()

    def profile(self, _asked: protocol.AskProfile) -> protocol.Profile:
        """Return the seconds of a call by operator, to find a slowdown."""
        prepared, feed = self.opened.prepared, self.opened.feeds[0]
        with prepared.context():
            times = facts.operator_times(lambda: prepared.call(feed), self.subject.device)
            return protocol.Profile(times)

    def finish(self, asked: protocol.Finish) -> protocol.Facts:
        """Return the facts after the last block, and the measurements that only the device can
        make.

        ``device_seconds``: how long it works on a call, by its own clock. It is much less than the
        call takes if the device waits for the host to launch its work. ``joules``: the energy of a
        call, measured over ``energy_seconds`` of calls; 0 means not requested.
        """
        found, prepared = self.opened.facts(), self.opened.prepared
        with prepared.context(), prepared.steady_context():
            if prepared.asynchronous and self.device.flush():
                found["device_seconds"] = self.stopwatch.device_seconds()
            seconds = asked.energy_seconds
            if seconds and (joules := self.stopwatch.joules(seconds)) is not None:
                found["joules"] = joules
        return protocol.Facts(found)

    def close(self, _asked: protocol.Close) -> protocol.Nothing:
        """End what the backend has started."""
        if hasattr(self.opened.prepared.model, "close"):
            self.opened.prepared.model.close()
        return protocol.Nothing()

    def _check(self, answers: check.Sets) -> dict[str, Any]:
        outcome = check.judge(self.subject, answers)
        self.allowed, self._max_abs = outcome.allowed, outcome.max_abs
        curve = self._check_curve()
        if curve is not None and curve.share > outcome.share:
            outcome = replace(curve, problem=curve.problem and f"loss curve: {curve.problem}")
        status, reason = check.verdict(self.subject, outcome, self.opened.dtypes, answers)
        self._agrees = status is Status.OK
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
        """Compare the losses of a short training. Return None if nothing is trained."""
        if self.opened.prepared.training is None:
            return None
        calls = Calls(self._say)
        calls.begin(Stage.TRAINING_STEPS, CURVE)
        scratch, training = self.subject.scratch, self.opened.prepared.training
        eager, exact = scratch.load_answers("curve-eager"), scratch.load_answers("curve-reference")
        assert eager is not None
        return rule.compare(
            [arrays(training.loss_curve(self.opened.feeds, calls.done))],
            eager,
            exact,
            self.subject.tolerance,
        )

    def _verify(self, timed: check.Answer, which: int, when: str = "while timed") -> None:
        """Raise ``BackendError`` if an answer is neither the checked answer to the same input nor
        as good.
        """
        check.verify(self.subject, timed, self.expected[which], which, self.allowed, when)


HANDLERS: dict[type[Request[Any]], Callable[[Worker, Any], Any]] = {
    protocol.AskReady: Worker.ready,
    protocol.AskConditions: Worker.conditions,
    protocol.MakeReference: Worker.reference,
    protocol.Open: Worker.open,
    protocol.Examine: Worker.examine,
    protocol.Keep: Worker.keep,
    protocol.Block: Worker.block,
    protocol.AuditClock: Worker.audit_clock,
    protocol.AuditWork: Worker.audit_work,
    protocol.CompareWith: Worker.compare_with,
    protocol.AskProfile: Worker.profile,
    protocol.Finish: Worker.finish,
    protocol.Close: Worker.close,
}
