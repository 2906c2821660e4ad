"""Weights made once: what takes seconds to make is kept in a file and read ever after.

The cache is ``$PARITYGATE_CACHE/weights``, or ``.paritygate/cache/weights`` here. A file's name
holds a digest of all that its content follows from, so a stale one is never read; a damaged one is
made anew.
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


class Kept(NamedTuple):
    """Weights, and whether they had to be made (``cold``) because no file held them."""

    weights: Weights
    cold: bool


def kept(name: str, recipe: Any, sources: Iterable[str], make: Callable[[], Weights]) -> Kept:
    """The weights that ``make`` gives, from the cache where they are.

    ``name`` begins the file's name. They follow from ``recipe`` (JSON), from the content of the files ``sources`` and
    from torch's version.
    """
    path = _file(name, recipe, sources)
    if path.exists():
        try:
            return Kept(_read(path), cold=False)
        except (OSError, ValueError) as damage:
            warnings.warn(f"{path} is damaged and made anew: {damage}", stacklevel=2)
    made = make()
    with contextlib.suppress(OSError):  # no room or no right to write: slower next time, not wrong
        _write(made, path)
    return Kept(made, cold=True)


def digest(model: nn.Module) -> str:
    """The SHA-256 of a model's weights: of their names, dtypes, shapes and numbers."""
    found = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(
            tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return found.hexdigest()


def size(weights: Mapping[str, Tensor]) -> int:
    """How many bytes weights take in a file of their own."""
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
    # torch.load checks no sums: a flipped byte would give a network that is slightly wrong, and no
    # error.
    if hashlib.sha256(saved).digest() != digest:
        raise ValueError("its content does not match its digest")
    found: Weights = torch.load(io.BytesIO(saved), weights_only=True)
    return found


def _write(made: Weights, path: Path) -> None:
    """Write the weights behind their digest."""
    saved = _saved(made)
    write_whole(hashlib.sha256(saved).digest() + saved, path)


def write_whole(content: bytes, path: Path) -> None:
    """Write a file that other processes see whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
