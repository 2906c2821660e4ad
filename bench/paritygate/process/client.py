"""ForkServer and Worker: start measuring processes, talk to them, and report how they ended.

Linux has full support. Elsewhere fork is not safe after torch is imported, so every worker is a
fork server of its own that never forks (``exec``). There, memory is not limited, and stopping is
not verified.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paritygate.core import reasons
from paritygate.core.record import End, Status
from paritygate.host import machine
from paritygate.host.lookup import Lookup, Suites
from paritygate.process.channel import Channel, ChannelClosedError
from paritygate.process.protocol import A, Become, Block, Fork, Request, Stage, Wait, encode

ROOT = Path(__file__).resolve().parents[2]
TAIL = 2000  # characters of a worker's last output that are kept
# characters that are read for it: progress bars and colours hold many invisible ones
RAW = 50 * TAIL
MORE_MEMORY = (
    "; use smaller shapes or a larger --bench-memory, or end other programs on the machine"
)
START_DEADLINE = 300.0  # seconds for the imports of a fork server on a busy machine
END_DEADLINE = 60.0  # seconds for a killed worker to end; one stuck in a driver does not end


class ForkServerError(Exception):
    """The fork server did not start. The message says why and shows its last output."""


@dataclass
class WorkerError(Exception):
    """A worker did not answer, or answered that it failed. Holds the status and the reason for its
    cell.
    """

    status: Status
    reason: str
    stage: Stage | None = None
    trace: str = ""
    detail: str = ""  # of the stage

    def __str__(self) -> str:
        return self.reason

    @property
    def end(self) -> End:
        """The end of its cell."""
        return End(self.status, self.reason, self.trace)


class Worker:
    """The pytest side of one worker process: ask, park, resume, end."""

    def __init__(self, server: ForkServer, pid: int, channel: Channel, log: Path) -> None:
        self.server, self.pid, self.channel, self.log = server, pid, channel, log
        self.stage: Stage | None = None
        self._detail = ""  # of the stage
        self._calls = 0  # of the model since the last request, as far as it has reported
        self.seconds_per_call: float | None = None  # of the first call; set when the cell is opened
        self.parked = False
        self.ended = False
        self._oom_kills = machine.oom_kills()

    def ask(
        self,
        request: Request[A],
        seconds: float,
        on_stage: Callable[[str], object] = str,
        declared: bool | None = None,
    ) -> A:
        """Return the worker's answer. Meanwhile, call ``on_stage`` with each stage that the worker
        reports.

        Raises ``WorkerError`` if the worker fails, dies, or takes too long. It may take
        ``seconds``; when it has measured how long a call takes, it may ask for more. ``declared``:
        the deadline is the Case's own ``deadline=`` and does not move. None: a ``deadline=`` would
        not change it.
        """
        self._send(request)
        answer: A = request.ANSWER(**self._answer(seconds, on_stage, declared))
        return answer

    def _send(self, request: Request[Any]) -> None:
        self.resume()
        self.stage = Stage.TIMING if isinstance(request, Block) else None
        self._detail, self._calls = "", 0
        # a dead worker is noticed and explained when its answer is read
        with suppress(ChannelClosedError):
            self.channel.send(encode(request))

    def _answer(
        self, seconds: float, on_stage: Callable[[str], object], declared: bool | None
    ) -> dict[str, Any]:
        began = time.monotonic()
        deadline = began + seconds
        try:
            while True:
                message = self.channel.receive(deadline)
                if "stage" not in message:
                    break
                self.stage, self._detail = Stage(message["stage"]), message.get("detail", "")
                self._calls = message.get("calls") or self._calls
                if not declared:
                    deadline = max(deadline, time.monotonic() + (message.get("seconds") or 0.0))
                made = (
                    f", {reasons.counted(self._calls, 'call')} made" if message.get("calls") else ""
                )
                on_stage(self.stage.sentence(self._detail) + made)
        except TimeoutError:
            self.close()
            if declared:
                reason = f"no answer within the {seconds:g} s of deadline={self._where()}"
            else:
                waited = deadline - began
                reason = (
                    f"no answer within {waited:{'.0f' if waited >= 1 else '.2g'}} s{self._where()}"
                )
            if declared is False:
                reason += "; a larger deadline= of the Case gives it more time"
            raise self._error(Status.TIMED_OUT, reason, self._tail()) from None
        except ChannelClosedError:
            raise self._death() from None
        if error := message.get("failure"):
            raise self._error(Status(error["status"]), error["reason"], error["trace"])
        found: dict[str, Any] = message["answer"]
        return found

    def park(self) -> None:
        """Stop the process with all its threads, so that none of them runs beside a measurement."""
        if self.parked or self.ended:
            return
        # a dead worker is noticed and explained when its answer is read
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGSTOP)
        while not self._stopped():
            time.sleep(0.0002)
        self.parked = True

    def resume(self) -> None:
        """Continue a parked process."""
        if self.parked and not self.ended:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)
        self.parked = False

    def close(self) -> None:
        """End the process and its children at once. It has nothing to save."""
        if not self.ended:
            self.ended = True
            with suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
            with suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)  # it may not have called setpgid yet
            self.server.wait(self.pid)
            self.channel.close()

    def _tail(self) -> str:
        """Return the last output. After a fatal error, include the innermost calls, which
        faulthandler prints first.
        """
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return ""
        words, fatal, stack = text.rpartition("Fatal Python error")
        if not fatal:
            return last_words(text)
        return f"{last_words(words)}\n{fatal}{reasons.clean(stack[:RAW])[:TAIL]}".strip()

    def _stopped(self) -> bool:
        """Return whether the kernel reports state T. A process that is gone counts; its death is
        noticed later.
        """
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        return state in "TtZX"

    def _death(self) -> WorkerError:
        status = None if self.ended else self.server.wait(self.pid)  # ended: with its fork server
        self.ended = True
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)  # what it may have started
        self.channel.close()
        tail = self._tail()
        killed_for_memory = machine.oom_kills() > self._oom_kills
        if status is None:
            return self._error(Status.CRASHED, f"the fork server died{self._where()}", tail)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            name = signal.Signals(number).name
            if (number == signal.SIGKILL and killed_for_memory) or "std::bad_alloc" in tail:
                reason = f"killed for memory{self._where()}{MORE_MEMORY}"
                return self._error(Status.OUT_OF_MEMORY, reason, tail)
            reason = f"killed by {name} (signal {number}){self._where()}"
            return self._error(Status.CRASHED, reason, tail)
        reason = f"exited with status {os.waitstatus_to_exitcode(status)}{self._where()}"
        return self._error(Status.CRASHED, reason, tail)

    def _where(self) -> str:
        made = f" ({reasons.counted(self._calls, 'call')} made)" if self._calls else ""
        return f" while: {self.stage.sentence(self._detail)}{made}" if self.stage else made

    def _error(self, status: Status, reason: str, trace: str) -> WorkerError:
        return WorkerError(status, reason, self.stage, trace, self._detail)


def last_words(text: str) -> str:
    """Return the end of a process's output, without terminal codes."""
    return reasons.clean(text[-RAW:])[-TAIL:].strip()


class ForkServer:
    """One launch: a freshly exec'd process and the workers it forks.

    - ``modules`` and ``backends``: imported before the first fork.
    - ``memory``: bytes a worker may allocate (RLIMIT_DATA), or None for no limit.
    - ``python``: its interpreter. Another interpreter than ours has its own packages; it gets the
      entries of our path that are not our packages.
    - ``suites``: those of the session; every task belongs to one of them. ``homes``: the folders of
      all tasks to come.
    - ``places``: entry of the path -> the folder that it stands for.
    - ``watched``: folders. A worker notes in the file ``used`` of its task what it uses of them.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        folder: Path,
        *,
        modules: list[str],
        backends: list[str],
        memory: int | None,
        path: list[str] | None = None,
        python: str = sys.executable,
        exec_workers: bool = sys.platform != "linux",
        suites: Suites | None = None,
        homes: Sequence[str] = (),
        places: Mapping[str, Path] | None = None,
        watched: Sequence[str] = (),
    ) -> None:
        self.environ, self._folder, self._memory = dict(environ), folder, memory
        self._modules, self._backends = modules, backends
        self._path, self._python = path or sys.path, python
        self._exec_workers = exec_workers
        self._suites, self._places = suites or Suites(), places
        self._watched = list(watched)
        self._homes = list(dict.fromkeys(homes))
        self.process: subprocess.Popen[bytes] | None = None
        self.workers: list[Worker] = []
        self._count = 0
        # one request at a time: several threads may wait for workers of one server
        self._asking = threading.RLock()

    def start(self) -> None:
        """Start the process and return at once; its imports go on. Raises nothing: ``fork`` waits
        for it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._log = self._folder / "forkserver.log"
        self._channel, theirs = Channel.pair()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    self._python,
                    "-m",
                    "paritygate.worker.forkserver",
                    str(theirs.fileno()),
                    str(os.getpid()),
                ],
                cwd=ROOT,  # with -m, the working folder is where `paritygate` is found
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        theirs.close()
        self._ready = False
        own, path = self._python != sys.executable, self._entries()
        self._lookup = Lookup(self._suites, path, self._places)
        init = {
            "path": path,
            "own": own,
            "cwd": os.getcwd(),
            "modules": self._modules,
            "backends": self._backends,
            "watched": self._watched,
            "lookup": self._order(self._homes[0]) if len(self._homes) == 1 else None,
            "apart": self._lookup.apart(self._homes) if len(self._homes) > 1 else [],
        }
        with suppress(ChannelClosedError):
            self._channel.send(init)

    def _order(self, suite: str) -> dict[str, Any] | None:
        order = self._lookup.order(suite)
        return None if order is None else order.as_dict()

    def _entries(self) -> list[str]:
        entries = [entry or os.getcwd() for entry in self._path if entry != str(ROOT)]
        if self._python != sys.executable:
            entries = [
                entry for entry in entries if not entry.startswith((sys.prefix, sys.base_prefix))
            ]
        return [*entries, str(ROOT)]

    def _with_last_words(self, what: str) -> str:
        words = last_words(self._log.read_text(errors="replace"))
        return reasons.whole(f"{what}; its last words:\n{words or 'none'}")

    def _await_ready(self) -> None:
        if not self.alive():
            self.close()  # remove the workers and the socket of a dead one
            self.start()
        if self._ready:
            return
        try:
            answer = self._channel.receive(time.monotonic() + START_DEADLINE)
        except (ChannelClosedError, TimeoutError) as error:
            self.close()
            late = f"took over {START_DEADLINE:.0f} s to import"
            ended = "ended while importing" if isinstance(error, ChannelClosedError) else late
            what = ", ".join(["torch", *self._backends, *self._modules])
            raise ForkServerError(
                self._with_last_words(f"the fork server {ended} one of {what}")
            ) from None
        if answer["problem"]:
            self.close()
            raise ForkServerError(answer["problem"])
        self._ready = True

    def alive(self) -> bool:
        """Return whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def fork(self, task: dict[str, Any]) -> Worker:
        """Return a fresh worker for a task. Raises ``ForkServerError`` if no fork server starts."""
        with self._asking:
            try:
                worker = self._exec(task) if self._exec_workers else self._ask_for(Fork, task)
            except (ChannelClosedError, TimeoutError):
                # the fork server died since the last worker: start a new one, once
                self.close()
                try:
                    worker = self._ask_for(Fork, task)
                except (ChannelClosedError, TimeoutError):
                    raise ForkServerError(
                        self._with_last_words("the fork server died twice while forking a worker")
                    ) from None
            self.workers.append(worker)
            return worker

    def _exec(self, task: dict[str, Any]) -> Worker:
        """Start a fork server of its own for the task. It becomes the worker."""
        alone = ForkServer(
            self.environ,
            self._folder,
            modules=self._modules,
            backends=self._backends,
            memory=None,
            path=self._path,
            python=self._python,
            suites=self._suites,
            homes=self._homes,
            places=self._places,
            watched=self._watched,
        )
        return alone._ask_for(Become, task)

    def _ask_for(self, kind: type[Fork] | type[Become], task: dict[str, Any]) -> Worker:
        self._await_ready()
        assert self.process is not None
        self._count += 1
        log = self._folder / f"worker-{self.process.pid}-{self._count}.log"
        parent = self.process.pid if kind is Fork else os.getpid()
        ours, theirs = Channel.pair()
        try:
            with log.open("wb") as file:
                lookup = self._order(task.get("suite", ""))
                more = {"parent": parent, "memory": self._memory, "lookup": lookup}
                self._channel.send(encode(kind(task | more)), theirs.fileno(), file.fileno())
            pid = self._channel.receive(time.monotonic() + START_DEADLINE)["pid"]
        except (ChannelClosedError, TimeoutError):
            ours.close()
            raise
        finally:
            theirs.close()
        return Worker(self, pid, ours, log)

    def wait(self, pid: int) -> int | None:
        """Return the wait status of a worker that has ended or is about to end. Return None if the
        fork server is gone.
        """
        if self.process is not None and pid == self.process.pid:  # exec'd: it is our own child
            code = self.process.wait()
            return -code if code < 0 else code << 8
        try:
            with self._asking:
                self._channel.send(encode(Wait(pid)))
                status: int | None = self._channel.receive(time.monotonic() + END_DEADLINE)[
                    "status"
                ]
                return status
        except TimeoutError:
            # for example stuck in the driver: the server's next message would answer this request
            self.close()
            return None
        except ChannelClosedError:
            return None

    def close(self) -> None:
        """End the fork server and all its workers."""
        for worker in self.workers:
            if not worker.ended:
                worker.ended = True
                with suppress(OSError):
                    os.killpg(worker.pid, signal.SIGKILL)
                worker.channel.close()
            if worker.server is not self:
                worker.server.close()
        self.workers.clear()
        if self.process is not None:
            with suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)  # workers that had no group yet
            self.process.kill()
            self.process.wait()
            self.process = None
            self._channel.close()
