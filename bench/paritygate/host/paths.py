"""Where paritygate keeps its files: ``.paritygate/`` in the project, or a cache folder if that is
read-only.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

NAME = ".paritygate"


def find(rootpath: Path) -> Path:
    """The folder for everything that paritygate writes; nothing is made, it need not exist."""
    folder = rootpath / NAME
    if os.access(folder if folder.exists() else rootpath, os.W_OK) and (
        folder.is_dir() or not folder.exists()
    ):
        return folder
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return cache / "paritygate" / hashlib.sha256(str(rootpath).encode()).hexdigest()[:12]


def home(rootpath: Path) -> Path:
    """The folder for everything that paritygate writes, made if need be.

    Holds ``store.sqlite``, ``cache/{onnx,inductor,triton,weights}``, ``scratch/`` and
    ``times.json``. Git ignores it: a run must not make a checkout dirty.
    """
    folder = find(rootpath)
    folder.mkdir(parents=True, exist_ok=True)
    ignored = folder / ".gitignore"
    if not ignored.exists():
        ignored.write_text("# made by paritygate\n*\n")
    return folder


def own_name() -> str:
    """A name for a folder of this process alone, by which later runs can tell whether it is still
    in use.
    """
    return f"{os.getpid()}-{uuid.uuid4().hex[:6]}"


def abandoned(folder: Path) -> bool:
    """Whether the process that made a folder of ``own_name`` is gone: it was killed before it could
    clean up.
    """
    pid = folder.name.partition("-")[0]
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
