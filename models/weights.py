"""A cache for weights: they are computed once, which takes seconds, and then read from a file.

The cache is ``$PARITYGATE_CACHE/weights``, or ``.paritygate/cache/weights`` here. A file's name
holds a digest of everything that its content depends on, so a stale file is never read. A damaged
file is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Weights = dict[str, Tensor]


class Cached(NamedTuple):
    """Weights, and whether they had to be computed (``cold``) because no file held them."""

    weights: Weights
    cold: bool


def cached(name: str, recipe: Any, sources: Iterable[str], make: Callable[[], Weights]) -> Cached:
    """Return the weights of ``make``, from the cache if they are there.

    ``name`` begins the file's name. The weights depend on ``recipe`` (JSON), on the content of the
    files ``sources`` and on torch's version.
    """
    path = _file(name, recipe, sources)
    if path.exists():
        try:
            return Cached(_read(path), cold=False)
        except (OSError, ValueError) as damage:
            warnings.warn(f"{path} is damaged and is made again: {damage}", stacklevel=2)
    made = make()
    with contextlib.suppress(OSError):  # cannot be written: the next run is slower, not wrong
        _write(made, path)
    return Cached(made, cold=True)


def digest(model: nn.Module) -> str:
    """Return the SHA-256 of a model's weights: their names, dtypes, shapes and numbers."""
    sha = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        sha.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def size(weights: Mapping[str, Tensor]) -> int:
    """Return the size in bytes of a file with these weights."""
    return len(_saved(dict(weights)))


def _file(name: str, recipe: Any, sources: Iterable[str]) -> Path:
    made_from = hashlib.sha256()
    for source in (*sources, __file__):
        made_from.update(Path(source).read_bytes())
    made_from.update(json.dumps([recipe, torch.__version__]).encode())
    cache = Path(os.environ.get("PARITYGATE_CACHE") or ".paritygate/cache")
    return cache / "weights" / f"{name}-{made_from.hexdigest()[:20]}"


def _saved(weights: Weights) -> bytes:
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


def _read(path: Path) -> Weights:
    content = path.read_bytes()
    digest, saved = content[:32], content[32:]
    # torch.load checks no checksum: a flipped byte would give a slightly wrong network and no error.
    if hashlib.sha256(saved).digest() != digest:
        raise ValueError("its content does not match its digest")
    loaded: Weights = torch.load(io.BytesIO(saved), weights_only=True)
    return loaded


def _write(made: Weights, path: Path) -> None:
    """Write the weights after their digest."""
    saved = _saved(made)
    write_whole(hashlib.sha256(saved).digest() + saved, path)


def write_whole(content: bytes, path: Path) -> None:
    """Write a file that other processes see complete or not at all. Its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
