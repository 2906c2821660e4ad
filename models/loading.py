"""Loading real digits by ``torch.utils.data.DataLoader``: in this process, by worker processes,
into pinned memory.

A call loads one epoch: every training digit once, in an order that follows from a seed. It returns
which samples came and a checksum of each, which depend neither on the order nor on the process that
loaded them. Shapes: N samples (1,437), B batch; images float32 (B, 1, 16, 16), indices and labels
int64 (B,).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from models import digits
from models.cnn import DigitsCNN

# A fork shares imported modules and starts at once; spawned workers import torch again, which takes
# seconds and 200 MB each. Forking is safe here although it does not copy OpenMP's threads:
# DataLoader sets its workers to one thread, so none of them waits for other threads. macOS'
# libraries do not survive a fork, so the default is used there.
CONTEXT = "fork" if sys.platform == "linux" else None
# length of the training in which waiting is measured; the first limit ends it
STEPS, SECONDS = 64, 1.0


class Zoomed(Dataset[tuple[int, Tensor, Tensor]]):
    """The N training digits as (index, image (1, 16, 16), label). An image is zoomed when it is
    read.
    """

    def __init__(self) -> None:
        self.digits, _ = digits.load(standardised=False)

    def __len__(self) -> int:
        return len(self.digits.labels)

    def __getitem__(self, index: int) -> tuple[int, Tensor, Tensor]:
        return index, zoom(self.digits.images[index]), self.digits.labels[index]


def zoom(image: Tensor) -> Tensor:
    """Return the middle (1, 16, 16) of a 16x16 image enlarged to 20x20, standardised to mean 0 and
    standard deviation 1.

    It goes through 64x64, so that edges stay smooth. It takes about 0.1 ms; an image of usual size
    takes many times longer.
    """
    smooth = functional.interpolate(image[None], size=64, mode="bicubic", align_corners=False)
    (large,) = functional.interpolate(
        smooth, size=20, mode="bicubic", align_corners=False, antialias=True
    )
    middle = large[:, 2:-2, 2:-2]
    return (middle - middle.mean()) / middle.std()


def checksum(images: Tensor) -> Tensor:
    """Return the sum (B,), int64, of every pixel's bits as an integer times the pixel's position.

    It is exact, unlike a sum of floats. A pixel that changed, moved or was lost changes it.
    """
    bits = images.flatten(1).view(torch.int32).long()
    return (bits * torch.arange(1, bits.shape[1] + 1)).sum(1)


class Loader:
    """An epoch of batches, loaded by this process (``workers=0``) or by worker processes.

    Workers start with the first epoch and stay for the next ones, so a later call measures a steady
    epoch without starting processes. They end with ``close``, and by themselves about 5 s after
    this process died. ``pinned``: batches are in page-locked memory, from which an accelerator
    copies them while it computes.
    """

    def __init__(
        self, workers: int = 0, pinned: bool = False, samples: Dataset[Any] | None = None
    ) -> None:
        self.samples = Zoomed() if samples is None else samples
        self._workers, self._pinned = workers, pinned
        self._order = torch.Generator()
        self._loaders: dict[int, DataLoader[Any]] = {}

    def __call__(self, batch: int, seed: int) -> dict[str, Tensor]:
        """Load one epoch in the order of ``seed``. Return its content, sorted by index.

        - ``indices``: indices of the samples (N,).
        - ``counts``: how often each sample came (N,).
        - ``checksums``, ``labels``: of the samples (N,).
        - ``batches``: the number of batches.
        """
        indices, checksums, labels = [], [], []
        for index, images, targets in self.batches(batch, seed):
            # Copies, because tensors from workers are in shared memory, and each holds a file
            # descriptor.
            indices.append(index.clone())
            checksums.append(checksum(images))
            labels.append(targets.clone())
        came = torch.cat(indices)
        order = came.argsort(stable=True)
        return {
            "indices": came[order],
            "counts": came.bincount(minlength=len(self.samples)),
            "checksums": torch.cat(checksums)[order],
            "labels": torch.cat(labels)[order],
            "batches": torch.tensor(len(indices)),
        }

    def batches(self, batch: int, seed: int) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        """Return an epoch of (indices, images, labels) in the order of ``seed``. The last batch may
        be smaller.
        """
        if batch not in self._loaders:
            self._loaders[batch] = DataLoader(
                self.samples,
                batch_size=batch,
                shuffle=True,
                generator=self._order,
                num_workers=self._workers,
                persistent_workers=self._workers > 0,
                multiprocessing_context=CONTEXT if self._workers else None,
                pin_memory=self._pinned,
            )
        self._order.manual_seed(seed)
        return self._loaders[batch]

    def facts(self) -> dict[str, Any]:
        """Return samples of an epoch, worker processes, and the share of a training's time spent
        waiting for data.

        The share is measured in this call, with batches of the first requested size; None before
        the first request.
        """
        waited = None
        if self._loaders:
            device = (
                torch.accelerator.current_accelerator() if self._pinned else torch.device("cpu")
            )
            waited = wait_share(self.batches(next(iter(self._loaders)), seed=0), device)
        return {
            "samples_per_epoch": len(self.samples),
            "loading_processes": self._workers,
            "data_wait_share": waited,
        }

    def close(self) -> None:
        """End the worker processes. The next epoch would start new ones."""
        self._loaders.clear()  # a loader without references ends its workers and waits for them


def wait_share(batches: Iterable[tuple[Tensor, Tensor, Tensor]], device: torch.device) -> float:
    """Return the share, 0 to 1, of a training's time that is spent waiting for the next batch.

    ``DigitsCNN`` is trained by SGD, for at most an epoch, ``STEPS`` or ``SECONDS``: with more busy
    workers and threads than cores, a step can take a hundred times longer. The global random state
    is not changed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DigitsCNN().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        logits = model(images.to(device, non_blocking=True))
        functional.cross_entropy(logits, labels.to(device, non_blocking=True)).backward()
        optimizer.step()

    # the first step initialises a device's libraries
    step(torch.zeros(1, 1, 16, 16), torch.zeros(1, dtype=torch.int64))
    waited = 0.0
    started = asked = time.perf_counter()
    for _, images, labels in islice(batches, STEPS):
        waited += time.perf_counter() - asked
        step(images, labels)
        asked = time.perf_counter()
        if asked - started > SECONDS:
            break
    if device.type != "cpu":
        torch.accelerator.synchronize()
    return waited / (time.perf_counter() - started)


def workers_1(plain: Loader) -> Loader:
    """Return a loader with one worker process."""
    return Loader(workers=1, samples=plain.samples)


def workers_2(plain: Loader) -> Loader:
    """Return a loader with two worker processes."""
    return Loader(workers=2, samples=plain.samples)


def pinned(plain: Loader) -> Loader:
    """Return a loader with two worker processes; a thread of this process copies batches into
    page-locked memory.

    Without an accelerator torch would pin nothing and only warn. So it raises
    ``NotImplementedError``: this variant cannot run here.
    """
    if not torch.accelerator.is_available():
        raise NotImplementedError(
            "page-locked memory speeds up copies to an accelerator, and there is none here; measure it on a machine "
            "with a GPU and a torch built for it"
        )
    return Loader(workers=2, pinned=True, samples=plain.samples)


def epoch(sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, int]:
    """Return the batch size, and a seed for the order of an epoch."""
    return {"batch": sizes["batch"], "seed": int(torch.randint(2**31, (), generator=generator))}
