"""Where paritygate keeps its files: ``.paritygate/`` in the project, or a cache folder if that is read-only."""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from pathlib import Path

NAME = ".paritygate"


def find(rootpath: Path) -> Path:
    """The folder for everything that paritygate writes; nothing is made, it need not exist."""
    folder = rootpath / NAME
    if os.access(folder if folder.exists() else rootpath, os.W_OK) and (folder.is_dir() or not folder.exists()):
        return folder
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "paritygate" / hashlib.sha256(str(rootpath).encode()).hexdigest()[:12]


@functools.cache  # one warning
def home(rootpath: Path) -> Path:
    """The folder for everything that paritygate writes, made if need be.

    Holds ``store.sqlite``, ``cache/{onnx,inductor,triton,weights}``, ``scratch/`` and ``times.json``.
    """
    folder = find(rootpath)
    folder.mkdir(parents=True, exist_ok=True)
    if folder.parent != rootpath:
        warnings.warn(f"{rootpath / NAME} is not writable; results go to {folder}", stacklevel=2)
    return folder
