"""The folder of paritygate's files: ``.paritygate/`` in the project, or a cache folder if that is
read-only.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

NAME = ".paritygate"


def find(rootpath: Path) -> Path:
    """Return the folder for all files that paritygate writes. Makes nothing; it need not exist."""
    folder = rootpath / NAME
    if os.access(folder if folder.exists() else rootpath, os.W_OK) and (
        folder.is_dir() or not folder.exists()
    ):
        return folder
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return cache / "paritygate" / hashlib.sha256(str(rootpath).encode()).hexdigest()[:12]


def home(rootpath: Path) -> Path:
    """Return the folder for all files that paritygate writes. Make it if it does not exist.

    It holds ``store.sqlite``, ``cache/{onnx,inductor,triton,weights,closures,builds}``, ``scratch/`` and
    ``times.json``. Git ignores it: a run must not make a checkout dirty.
    """
    folder = find(rootpath)
    folder.mkdir(parents=True, exist_ok=True)
    ignored = folder / ".gitignore"
    if not ignored.exists():
        ignored.write_text("# made by paritygate\n*\n")
    return folder


def own_name() -> str:
    """Return a name for a folder that belongs to this process. ``abandoned`` can tell from it
    whether the process still runs.
    """
    return f"{os.getpid()}-{uuid.uuid4().hex[:6]}"


def abandoned(folder: Path) -> bool:
    """Return whether the process that made a folder named by ``own_name`` has ended without
    removing it.
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
