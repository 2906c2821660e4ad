"""The fork server: an exec'd process that imports torch once and forks a worker for every task.

``paritygate.process.client`` starts it as ``python -m paritygate.worker.forkserver FD PARENT``, in
its own session and in laboratory conditions. It speaks JSON over a socket: ``init``, then ``fork``
(with the worker's own socket and log as open files) and ``wait``, until the socket closes. Every
worker shares its imports. So before the first fork it checks that it can still be forked safely
(see ``unfit``).
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from paritygate.process.channel import Channel, ChannelClosedError
from paritygate.process.protocol import Become, Ended, Fork, Stage, Started, Wait, decode
from paritygate.runtime import sources
from paritygate.worker import used_files

PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Make the kernel kill this process when ``parent`` dies. If it is dead already, end at once.

    Without this a stopped worker would outlive a killed fork server for ever, in state T.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def unfit() -> str | None:
    """Return what makes this process unfit to be forked, or None: a second thread, a CUDA context,
    an open cache file.
    """
    tasks = Path("/proc/self/task")
    threads = (
        [(task / "comm").read_text().strip() for task in tasks.iterdir()]
        if tasks.is_dir()
        else ["main"]
    )
    if len(threads) > 1:
        return f"{len(threads) - 1} further thread(s) running ({', '.join(sorted(threads[1:]))})"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "CUDA is initialised"
    cache = os.path.realpath(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for descriptor in Path("/proc/self/fd").iterdir() if tasks.is_dir() else ():
        if descriptor.name in ("1", "2"):
            continue  # our own log: it is in that folder if the project cannot be written
        try:
            target = os.readlink(descriptor)
        except OSError:
            continue  # the descriptor of this very listing
        if target.startswith(cache + os.sep):
            return f"{target} is open"
    return None


def preload(modules: list[str], backends: list[str], apart: list[str]) -> str | None:
    """Import the modules of the run's cells. Return what went wrong, with the module's name, or
    None.

    A module of a case that cannot be imported is left to the workers, which report it for their
    cells. A module in a folder of ``apart`` is left to them too, because there it may be another
    file for each suite.
    """
    steps: list[tuple[str, Callable[[str], Any], str]] = [
        *((name, importlib.import_module, name) for name in ("torch", "paritygate.worker.server")),
        *(
            (f"{name}.preload()", _preload, name)
            for name in ("paritygate.worker.vector_math", *backends)
        ),
        *((name, lambda name: sources.import_for_all(name, apart), name) for name in modules),
    ]
    for what, act, argument in steps:
        act(argument)
        if problem := unfit():
            remedy = (
                "; take it out of the case's preload, then its workers import it"
                if what in modules
                else ""
            )
            return f"{what} made the fork server unfit to fork: {problem}{remedy}"
    return None


def _preload(name: str) -> Any:
    return importlib.import_module(name).preload()


def serve(channel: Channel) -> None:
    """Answer the pytest process until it closes the socket."""
    init = channel.receive()
    # the first entry of sys.path is the folder that -m searched
    sys.path[:] = init["path"] + (sys.path[1:] if init["own"] else [])
    os.chdir(init["cwd"])
    used_files.watch(init["watched"])
    # To check a MIG instance torch asks CUDA itself. After that no fork can use CUDA any more.
    shown = os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    problem = sources.enter(init["lookup"]) or preload(
        init["modules"], init["backends"], init["apart"]
    )
    if shown is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = shown
    gc.collect()
    gc.freeze()  # collections in workers then ignore these objects and copy no shared page
    channel.send({"problem": problem})
    while True:
        message, fds = channel.receive_with_fds(2)
        asked = decode(message)
        if isinstance(asked, Fork):
            pid = os.fork()
            if pid == 0:
                channel.close()
                become_worker(fds, asked.task)
            for descriptor in fds:
                os.close(descriptor)
            channel.send(vars(Started(pid)))
        elif isinstance(asked, Become):
            channel.send(vars(Started(os.getpid())))
            become_worker(fds, asked.task)
        elif isinstance(asked, Wait):
            channel.send(vars(Ended(_wait(asked.pid))))


def _wait(pid: int) -> int | None:
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:  # the child of a fork server before us
        return None


def become_worker(fds: list[int], task: dict[str, Any]) -> None:
    """Live and die as one worker, in the fresh fork or process. Does not return."""
    import socket

    socket_fd, log_fd = fds
    code = 1
    try:
        die_with(task["parent"])
        with suppress(PermissionError):  # an exec'd one leads a session already
            os.setpgid(0, 0)  # it can then be ended together with its children, such as a compiler
        os.dup2(log_fd, 1)
        os.dup2(log_fd, 2)
        faulthandler.enable()
        if task["memory"] and task["device"] == "cpu" and sys.platform == "linux":
            # Not RLIMIT_AS: reserving address space costs nothing. Not with CUDA, which maps
            # addresses that are no memory of the host.
            resource.setrlimit(resource.RLIMIT_DATA, (task["memory"], task["memory"]))
        channel = Channel(socket.socket(fileno=socket_fd))
        if task["used"]:
            used_files.write_to(task["used"])
        if problem := sources.enter(task["lookup"]):
            refuse(channel, problem)
        if task["lookup"]:  # the server left out modules that are other files for other suites
            for name in task["case"]["preload"]:
                if name not in sys.modules:
                    channel.send({"stage": Stage.IMPORTING, "detail": name})
                    sources.import_for_all(name, [])
        from paritygate.worker import server

        server.main(channel, task)
        code = 0
    except ChannelClosedError:
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the fork server's atexit handlers are not ours


def refuse(channel: Channel, reason: str) -> None:
    """Answer every request with this failure, until the pytest process closes the channel."""
    while True:
        channel.receive()
        channel.send({"failure": {"status": "failed", "reason": reason, "trace": ""}})


def main() -> None:
    """Run the fork server; the entry point of the exec'd process."""
    import socket

    fd, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with(parent)
    # Ctrl-C is for pytest, which then ends this process in its own way
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(ChannelClosedError):
        serve(Channel(socket.socket(fileno=fd)))


if __name__ == "__main__":
    main()
