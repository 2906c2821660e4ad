"""Real handwritten digits, and the CNN trained on them.

The 1,797 8x8 digits that scikit-learn ships, each pixel doubled to 16x16: what ``DigitsCNN`` takes, with no
network needed. Shapes: N samples; images float32 (N, 1, 16, 16), labels int64 (N,).
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from models import cnn

Weights = dict[str, Tensor]


class Digits(NamedTuple):
    """Images (N, 1, 16, 16) and their labels (N,)."""

    images: Tensor
    labels: Tensor


def load(standardised: bool = True) -> tuple[Digits, Digits]:
    """The 1,437 digits to learn from and the 360 held out; always the same ones.

    Pixels have mean 0 and spread 1 over the digits to learn from, or lie in 0 to 1.
    """
    from sklearn.datasets import load_digits  # brings scipy: half a second that only this function needs

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy(pixels).float().view(-1, 1, 8, 8) / 16
    images = images.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    # Every fifth of each digit: the classes keep their shares, and so do the writers, who come one by one.
    order = torch.from_numpy(labels).argsort(stable=True)
    held = torch.zeros(len(order), dtype=torch.bool)
    held[order[::5]] = True
    if standardised:
        images = (images - images[~held].mean()) / images[~held].std()
    targets = torch.from_numpy(labels).long()
    return Digits(images[~held], targets[~held]), Digits(images[held], targets[held])


def train(epochs: int = 12, lr: float = 0.01, momentum: float = 0.9, batch: int = 32, seed: int = 0) -> Weights:
    """The weights of a ``DigitsCNN`` trained by SGD on the digits to learn from: 98 % right in about 4 s.

    The same arguments give the same weights on the same machine; the global random state stays untouched.
    """
    digits, _ = load()
    generator = torch.Generator().manual_seed(seed)
    # A harness may call from inside inference mode, where nothing can be learnt.
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = cnn.DigitsCNN()
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
        for _ in range(epochs):
            for rows in torch.randperm(len(digits.labels), generator=generator).split(batch):
                optimizer.zero_grad()
                functional.cross_entropy(model(digits.images[rows]), digits.labels[rows]).backward()
                optimizer.step()
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}


def trained() -> cnn.DigitsCNN:
    """A ``DigitsCNN`` trained once and read from the cache ever after."""
    model = cnn.DigitsCNN()
    model.load_state_dict(weights())
    return model


def weights(**changes: float) -> Weights:
    """The weights that ``train(**changes)`` gives, from the cache where they are.

    The cache is ``$PARITYGATE_CACHE/weights``, or ``.paritygate/cache/weights`` here. A file's name holds a
    digest of all that the weights follow from, so a stale one is never read; a damaged one is made anew.
    """
    called = inspect.signature(train).bind(**changes)
    called.apply_defaults()
    path = _weights_file(called.arguments)
    if path.exists():
        try:
            return _read(path)
        except (OSError, ValueError) as damage:
            warnings.warn(f"{path} is damaged and made anew: {damage}", stacklevel=2)
    made = train(**called.arguments)
    with contextlib.suppress(OSError):  # no room or no right to write: slower next time, not wrong
        _write(made, path)
    return made


def _weights_file(recipe: Mapping[str, Any]) -> Path:
    made_from = hashlib.sha256()
    for source in (__file__, cnn.__file__):
        made_from.update(Path(source).read_bytes())
    made_from.update(json.dumps([recipe, torch.__version__]).encode())
    cache = Path(os.environ.get("PARITYGATE_CACHE") or ".paritygate/cache")
    return cache / "weights" / f"digits_cnn-{made_from.hexdigest()[:20]}"


def _read(path: Path) -> Weights:
    content = path.read_bytes()
    digest, saved = content[:32], content[32:]
    # torch.load checks no sums: a flipped byte would give a network that is slightly wrong, and no error.
    if hashlib.sha256(saved).digest() != digest:
        raise ValueError("its content does not match its digest")
    found: Weights = torch.load(io.BytesIO(saved), weights_only=True)
    return found


def _write(made: Weights, path: Path) -> None:
    """Write the weights behind their digest, into a file that others see whole or not at all."""
    buffer = io.BytesIO()
    torch.save(made, buffer)
    saved = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(saved).digest() + saved)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def held_out() -> tuple[tuple[Tensor], Tensor]:
    """The held-out digits as ``((images,), labels)``: what a model is called with, and what is right."""
    _, digits = load()
    return (digits.images,), digits.labels


def digit_images(sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor]:
    """Held-out digits (B, 1, 16, 16) drawn at random, with repetition."""
    _, digits = load()
    return (digits.images[torch.randint(len(digits.labels), (sizes["batch"],), generator=generator)],)
