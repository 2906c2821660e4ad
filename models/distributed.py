"""Data-parallel training on real digits: one process, and ranks of ``DistributedDataParallel``
under ``torchrun``.

A call trains ``DigitsCNN`` from its initial weights on some global batches in turn, by SGD with
momentum. It returns the loss of every step and the change of each weight. (The weights themselves
hardly differ after a few steps, whatever was done.) Each rank takes an equal share of every global
batch. So the mean of the ranks' losses is the loss of the global batch, and the mean of their
gradients is its gradient.

Shapes: k steps, B samples of a global batch; images float32 (k, B, 1, 16, 16), labels int64 (k, B),
losses (k,).

``python -m models.distributed SOCKET`` is a rank; ``Ranks`` starts it through torchrun.
"""

from __future__ import annotations

import copy
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from multiprocessing.connection import Client, Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models import digits
from models.cnn import DigitsCNN

ROOT = Path(__file__).resolve().parents[1]
START = 180.0  # seconds for the ranks to import torch and to find each other, on a busy machine
TIMEOUT = 60.0  # seconds that a rank waits for the others in a collective operation; a step takes milliseconds
GRACE = 10.0  # further seconds until the owner of the ranks gives up
TAIL = 3000  # characters of the ranks' last output in an error message
LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
# a rank and its exit code in torchrun's final report
FAILURE = re.compile(r"rank +: (\d+) .*\n *exitcode +: (-?\d+)")


class Unavailable(RuntimeError):  # no ...Error: it is a fact about the machine
    """So many ranks cannot run on this machine. The message is the reason."""


def train(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Train the model, from its present weights, one step on each of k batches. Return the losses
    (k,).
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for batch, targets in zip(images, labels, strict=True):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(batch), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def moves(model: nn.Module, initial: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the change of each of the model's weights from its initial value, by name."""
    return {
        name: value - initial[name].to(value.device) for name, value in model.state_dict().items()
    }


class OneProcess:
    """Trains in this process, on the device of the batches."""

    def __init__(self) -> None:
        self.model = DigitsCNN()

    def __call__(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return ``losses`` (k,), and by name the change of each weight in k steps."""
        model = copy.deepcopy(self.model).to(images.device)
        return {"losses": train(model, images, labels)} | moves(model, self.model.state_dict())


def share(batches: Tensor, rank: int, ranks: int) -> Tensor:
    """Return a rank's part (k, B / ranks, ...) of k global batches."""
    return batches.chunk(ranks, dim=1)[rank]


class Ranks:
    """Trains by ranks of ``DistributedDataParallel``: gloo between CPUs, nccl between GPUs, one GPU
    for each rank.

    torchrun starts the ranks once; their processes stay and wait for calls. A call sends out the
    shares and collects the answer. This process's threads are divided among the ranks, so that one
    process and its ranks compute with the same number of threads. Only the loopback network is
    used. The ranks end when their channel to this process closes: after ``close``, and also when
    this process dies.

    Raises ``RuntimeError`` when a rank dies or does not answer, in the call that notices it and in
    every later one.
    """

    def __init__(self, model: nn.Module, ranks: int) -> None:
        self.ranks, self.threads, self.backend = ranks, 0, "gloo"
        self.gradient_bytes = sum(
            p.numel() * p.element_size() for p in model.parameters() if p.requires_grad
        )
        self._channels: list[Connection] = []
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the ranks write to it
        # Only users with access to the folder can connect. It is removed when all ranks have.
        with (
            tempfile.TemporaryDirectory(prefix="ddp-") as folder,
            socket.socket(socket.AF_UNIX) as server,
        ):
            server.bind(f"{folder}/socket")
            server.listen()
            self._torchrun = self._start(folder)
            try:
                self._meet(server)
            except BaseException:
                self.close()
                raise
        weights = {name: value.numpy() for name, value in model.state_dict().items()}
        self._send([(weights, torch.backends.cudnn.allow_tf32)] * ranks)

    def __call__(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Train as ``OneProcess`` does. Raises ``ValueError`` if a batch cannot be shared
        equally.
        """
        device = images.device.type
        if images.shape[1] % self.ranks:
            raise ValueError(
                f"{images.shape[1]} samples cannot be shared equally by {self.ranks} ranks"
            )
        if device == "cuda" and torch.cuda.device_count() < self.ranks:
            raise Unavailable(
                f"{self.ranks} ranks need one GPU each; this machine has {torch.cuda.device_count()}"
            )
        self.backend = "nccl" if device == "cuda" else "gloo"
        self._send(
            [
                (
                    device,
                    *(share(whole, rank, self.ranks).cpu().numpy() for whole in (images, labels)),
                )
                for rank in range(self.ranks)
            ]
        )
        losses, moved = zip(*(self._receive(rank) for rank in range(self.ranks)), strict=True)
        loss_curve = torch.stack([torch.from_numpy(own) for own in losses]).mean(0)
        return {"losses": loss_curve} | {
            name: torch.from_numpy(value) for name, value in moved[0].items()
        }

    def facts(self) -> dict[str, Any]:
        """Return the number of ranks, the threads that each really has, the backend of the last
        call, and the bytes of gradients that a step averages.
        """
        return {
            "ranks": self.ranks,
            "threads_per_rank": self.threads,
            "distributed_backend": self.backend,
            "gradient_bytes_per_step": self.gradient_bytes,
        }

    def close(self) -> None:
        """End the ranks and torchrun, and wait for their end."""
        for channel in self._channels:
            channel.close()
        self._channels.clear()
        self._torchrun.terminate()  # this also ends ranks that have not connected yet
        try:
            self._torchrun.wait(2 * GRACE)
        except subprocess.TimeoutExpired:
            self._torchrun.kill()
            self._torchrun.wait()
        self._log.close()

    def _start(self, folder: str) -> subprocess.Popen[bytes]:
        threads = str(max(1, torch.get_num_threads() // self.ranks))
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "torch.distributed.run",
                f"--nproc-per-node={self.ranks}",
                # Like --standalone, but without looking up the host name, which fails or takes
                # seconds in some containers.
                "--rdzv-backend=c10d",
                "--rdzv-endpoint=127.0.0.1:0",
                "--local-addr=127.0.0.1",
                # It only checks whether ranks live, and other processes may be measuring: the default
                # of ten times a second is too often.
                "--monitor-interval=1",
                f"--shutdown-timeout={GRACE:.0f}",
                f"--log-dir={folder}",
                "--module",
                __name__,
                f"{folder}/socket",
            ],
            cwd=ROOT,  # with -m, the working folder is where `models` is found
            env=os.environ
            | {
                "OMP_NUM_THREADS": threads,
                "MKL_NUM_THREADS": threads,
                "GLOO_SOCKET_IFNAME": LOOPBACK,
                "NCCL_SOCKET_IFNAME": LOOPBACK,
            },
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def _meet(self, server: socket.socket) -> None:
        """Wait until every rank has connected and sent its number."""
        deadline = time.monotonic() + START
        server.settimeout(0.1)
        joined: dict[int, Connection] = {}
        while len(joined) < self.ranks:
            if self._torchrun.poll() is not None:
                raise RuntimeError(
                    f"{self._death()} while starting; last output:\n{self._last_words()}"
                )
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{self.ranks} ranks did not start within {START:.0f} s:\n{self._last_words()}"
                )
            with suppress(TimeoutError, EOFError):  # if a rank dies here, torchrun ends
                accepted, _ = server.accept()
                channel = Connection(accepted.detach())
                rank, self.threads = channel.recv()
                joined[rank] = channel
        self._channels = [joined[rank] for rank in range(self.ranks)]

    def _send(self, messages: Sequence[Any]) -> None:
        if not self._channels:
            raise RuntimeError(f"the {self.ranks} ranks have ended; start new ones")
        try:
            for channel, message in zip(self._channels, messages, strict=True):
                channel.send(message)
        except OSError as error:
            raise self._ended() from error

    def _receive(self, rank: int) -> Any:
        """Return a rank's answer. If a rank dies, torchrun ends the others, so any of them shows
        it.
        """
        try:
            if self._channels[rank].poll(TIMEOUT + GRACE):
                return self._channels[rank].recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        self.close()
        raise RuntimeError(
            f"rank {rank} of {self.ranks} gave no answer within {TIMEOUT + GRACE:.0f} s"
        )

    def _ended(self) -> RuntimeError:
        """Return the error for ranks that have ended by themselves, after torchrun has reported the
        reason.
        """
        with suppress(subprocess.TimeoutExpired):
            self._torchrun.wait(2 * GRACE)
        error = RuntimeError(f"{self._death()} while training; last output:\n{self._last_words()}")
        self.close()
        return error

    def _death(self) -> str:
        """Return which ranks ended and how. Killed ranks come first: the others fail because they
        are gone.

        torchrun's own "root cause" is the rank that it happened to check first.
        """
        codes = {int(rank): int(code) for rank, code in FAILURE.findall(self._last_words(1 << 20))}
        # torchrun itself has ended the others
        by_themselves = {rank: code for rank, code in codes.items() if code != -signal.SIGTERM}
        ends = [
            f"rank {rank} of {self.ranks} "
            + (f"was killed by {_signal(-code)}" if code < 0 else f"exited with {code}")
            for rank, code in sorted(
                (by_themselves or codes).items(), key=lambda item: (item[1] >= 0, item[0])
            )
        ]
        return ", ".join(ends) or f"torchrun ended with status {self._torchrun.poll()}"

    def _last_words(self, size: int = TAIL) -> str:
        descriptor = self._log.fileno()  # no seek(): the writers share the file's position
        length = os.fstat(descriptor).st_size
        return os.pread(descriptor, size, max(0, length - size)).decode(errors="replace").strip()


def _signal(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def serve(address: str) -> None:
    """Run a rank: connect to the others, then train on the batches that the owner sends. The
    process ends when the channel closes.
    """
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    # The device of the tensors decides which one is used.
    backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backends, timeout=timedelta(seconds=TIMEOUT))
    rank = distributed.get_rank()
    channel = Client(address, "AF_UNIX")
    channel.send((rank, torch.get_num_threads()))
    received: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(channel, received), daemon=True).start()
    initial, torch.backends.cudnn.allow_tf32 = received.get()
    initial = {name: torch.from_numpy(value) for name, value in initial.items()}
    replicas: dict[str, DistributedDataParallel] = {}
    while True:
        kind, images, labels = received.get()
        device = torch.device(kind, rank) if kind == "cuda" else torch.device(kind)
        if kind not in replicas:
            replicas[kind] = DistributedDataParallel(DigitsCNN().to(device))
        replica = replicas[kind]
        replica.module.load_state_dict(initial)
        losses = train(
            replica, torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device)
        )
        moved = moves(replica.module, initial) if rank == 0 else {}
        channel.send(
            (losses.cpu().numpy(), {name: value.cpu().numpy() for name, value in moved.items()})
        )


def _listen(channel: Connection, received: SimpleQueue[Any]) -> None:
    """Receive messages of the owner. Without an owner end the process at once, whatever the rank is
    doing.
    """
    try:
        while True:
            received.put(channel.recv())
    except (EOFError, OSError):
        os._exit(0)


def ddp_1(plain: OneProcess) -> Ranks:
    """Return one rank: it shows the cost of DistributedDataParallel itself."""
    return _ranks(plain, 1)


def ddp_2(plain: OneProcess) -> Ranks:
    """Return two ranks."""
    return _ranks(plain, 2)


def _ranks(plain: OneProcess, count: int) -> Ranks:
    """Return ranks. Raises ``NotImplementedError``, this variant cannot run here, if this build of
    torch or the system has no way for ranks to meet.
    """
    if not torch.distributed.is_available() or not hasattr(socket, "AF_UNIX"):
        raise NotImplementedError(
            "ranks need a torch built with torch.distributed, and Unix sockets"
        )
    return Ranks(plain.model, count)


def global_batches(sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    """Return real digits drawn at random, with repetition: images (k, B, 1, 16, 16) and labels (k,
    B).
    """
    learn, _ = digits.load()
    rows = torch.randint(len(learn.labels), (sizes["steps"], sizes["batch"]), generator=generator)
    return {"images": learn.images[rows], "labels": learn.labels[rows]}


if __name__ == "__main__":
    serve(sys.argv[1])
