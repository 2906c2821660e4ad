"""Data-parallel training on real digits: one process, and ranks of ``DistributedDataParallel``
under ``torchrun``.

A call trains ``DigitsCNN`` from its initial weights on some global batches in turn, by SGD with
momentum. Its answer is the loss of every step and how far each weight has moved: the weights
themselves hardly differ after some steps, whatever was done. Each rank takes an equal share of
every global batch, so the mean of the ranks' losses is the loss of the global batch, and the mean
of their gradients its gradient.

Shapes: k steps, B samples of a global batch; images float32 (k, B, 1, 16, 16), labels int64 (k, B),
losses (k,).

``python -m models.distributed SOCKET`` is a rank; ``Ranks`` has torchrun start it.
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
GRACE = 10.0  # seconds beyond that for whoever waits for a rank to hear of it
TAIL = 3000  # characters of the ranks' last words that an error shows
LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
# in torchrun's report of why it ended
FAILURE = re.compile(r"rank +: (\d+) .*\n *exitcode +: (-?\d+)")


class Unavailable(RuntimeError):  # it states a fact of the machine, not an error of ours
    """So many ranks cannot run here; the text is the reason."""


def train(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The losses (k,) of a step on each of k batches; the model is trained from the weights that it
    has.
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
    """How far each of the model's weights is from its initial value, by name."""
    return {
        name: value - initial[name].to(value.device) for name, value in model.state_dict().items()
    }


class OneProcess:
    """Trains in this process, on the device where the batches are."""

    def __init__(self) -> None:
        self.model = DigitsCNN()

    def __call__(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``losses`` (k,), and by its name how far each weight has moved in k steps."""
        model = copy.deepcopy(self.model).to(images.device)
        return {"losses": train(model, images, labels)} | moves(model, self.model.state_dict())


def share(batches: Tensor, rank: int, ranks: int) -> Tensor:
    """A rank's part (k, B / ranks, ...) of k global batches."""
    return batches.chunk(ranks, dim=1)[rank]


class Ranks:
    """Trains by ranks of ``DistributedDataParallel``: gloo between CPUs, nccl between GPUs, one a
    rank.

    torchrun starts the ranks once; they keep their processes and wait for calls. A call hands out
    the shares and collects the answer. This process's threads are divided among the ranks, so that
    one process and its ranks compute with equally many. Nothing speaks to any network but loopback.
    The ranks end when their channel to this process closes, hence with ``close`` and also when this
    process dies.

    Raises ``RuntimeError`` when a rank dies or does not answer: in the call that notices, and in
    every later one.
    """

    def __init__(self, model: nn.Module, ranks: int) -> None:
        self.ranks, self.threads, self.backend = ranks, 0, "gloo"
        self.gradient_bytes = sum(
            p.numel() * p.element_size() for p in model.parameters() if p.requires_grad
        )
        self._channels: list[Connection] = []
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  as long as the ranks write
        # Only who may enter the folder can connect. It is gone as soon as all have.
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
        """As ``OneProcess``; raises ``ValueError`` where a batch cannot be shared equally."""
        device = images.device.type
        if images.shape[1] % self.ranks:
            raise ValueError(
                f"{images.shape[1]} samples cannot be shared equally by {self.ranks} ranks"
            )
        if device == "cuda" and torch.cuda.device_count() < self.ranks:
            raise Unavailable(
                f"{self.ranks} ranks need a GPU each, here are {torch.cuda.device_count()}"
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
        curve = torch.stack([torch.from_numpy(own) for own in losses]).mean(0)
        return {"losses": curve} | {
            name: torch.from_numpy(value) for name, value in moved[0].items()
        }

    def facts(self) -> dict[str, Any]:
        """Ranks, the threads that each really has, the backend of the last call, bytes of gradients
        a step averages.
        """
        return {
            "ranks": self.ranks,
            "threads_per_rank": self.threads,
            "distributed_backend": self.backend,
            "gradient_bytes_per_step": self.gradient_bytes,
        }

    def close(self) -> None:
        """End the ranks and torchrun, and wait until they have ended."""
        for channel in self._channels:
            channel.close()
        self._channels.clear()
        self._torchrun.terminate()  # ranks that did not connect yet, it ends
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
                # As --standalone, but that it looks up no host name, which fails or takes seconds
                # in some containers.
                "--rdzv-backend=c10d",
                "--rdzv-endpoint=127.0.0.1:0",
                "--local-addr=127.0.0.1",
                # It only looks whether ranks live, beside measurements of others: not ten times a
                # second.
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
        """Wait for every rank to connect and to say which one it is."""
        deadline = time.monotonic() + START
        server.settimeout(0.1)
        joined: dict[int, Connection] = {}
        while len(joined) < self.ranks:
            if self._torchrun.poll() is not None:
                raise RuntimeError(
                    f"{self._death()} while starting; last words:\n{self._last_words()}"
                )
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{self.ranks} ranks did not start within {START:.0f} s:\n{self._last_words()}"
                )
            with suppress(TimeoutError, EOFError):  # one that dies here takes torchrun with it
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
        """A rank's answer. A dead rank takes the others with it (torchrun ends them), so any of
        them may be asked.
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
        """The error of ranks that have ended by themselves, once torchrun has told why."""
        with suppress(subprocess.TimeoutExpired):
            self._torchrun.wait(2 * GRACE)
        error = RuntimeError(f"{self._death()} while training; last words:\n{self._last_words()}")
        self.close()
        return error

    def _death(self) -> str:
        """Which rank ended and how. One that was killed comes first: the others fail because it is
        gone.

        torchrun's own "root cause" is whichever it looked at first.
        """
        codes = {int(rank): int(code) for rank, code in FAILURE.findall(self._last_words(1 << 20))}
        # torchrun's own doing
        by_themselves = {rank: code for rank, code in codes.items() if code != -signal.SIGTERM}
        told = [
            f"rank {rank} of {self.ranks} "
            + (f"was killed by {_signal(-code)}" if code < 0 else f"exited with {code}")
            for rank, code in sorted(
                (by_themselves or codes).items(), key=lambda item: (item[1] >= 0, item[0])
            )
        ]
        return ", ".join(told) or f"torchrun ended with status {self._torchrun.poll()}"

    def _last_words(self, size: int = TAIL) -> str:
        descriptor = self._log.fileno()  # not by seek(): those who write share the file's position
        length = os.fstat(descriptor).st_size
        return os.pread(descriptor, size, max(0, length - size)).decode(errors="replace").strip()


def _signal(number: int) -> str:
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def serve(address: str) -> None:
    """Be a rank: meet the others, then train what the owner sends. Ends the process when the
    channel closes.
    """
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    # Which one is used follows from where the tensors are.
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
    """Take what the owner sends. Without an owner end at once, whatever the rank is doing or
    waiting for.
    """
    try:
        while True:
            received.put(channel.recv())
    except (EOFError, OSError):
        os._exit(0)


def ddp_1(plain: OneProcess) -> Ranks:
    """One rank: what DistributedDataParallel costs by itself."""
    return _ranks(plain, 1)


def ddp_2(plain: OneProcess) -> Ranks:
    """Two ranks."""
    return _ranks(plain, 2)


def _ranks(plain: OneProcess, count: int) -> Ranks:
    if not torch.distributed.is_available() or not hasattr(socket, "AF_UNIX"):
        raise NotImplementedError(
            "ranks need a torch built with torch.distributed, and Unix sockets"
        )
    return Ranks(plain.model, count)


def global_batches(sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    """Real digits drawn at random, with repetition: images (k, B, 1, 16, 16) and labels (k, B)."""
    learn, _ = digits.load()
    rows = torch.randint(len(learn.labels), (sizes["steps"], sizes["batch"]), generator=generator)
    return {"images": learn.images[rows], "labels": learn.labels[rows]}


if __name__ == "__main__":
    serve(sys.argv[1])
