"""Where paritygate keeps its files: ``.paritygate/`` in the project, or a cache folder if that is read-only."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path

NAME = ".paritygate"


def home(rootpath: Path) -> Path:
    """The folder for everything that paritygate writes, made if need be.

    Holds ``store.sqlite``, ``cache/{onnx,inductor,triton,weights}``, ``scratch/`` and ``times.json``.
    """
    folder = rootpath / NAME
    try:
        folder.mkdir(exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    elsewhere = cache / "paritygate" / hashlib.sha256(str(rootpath).encode()).hexdigest()[:12]
    elsewhere.mkdir(parents=True, exist_ok=True)
    warnings.warn(f"{folder} is not writable; results go to {elsewhere}", stacklevel=2)
    return elsewhere
