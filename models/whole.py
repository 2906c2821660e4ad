"""Whole files: many processes may make the same one at once, and none reads half of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write(content: bytes, path: Path) -> None:
    """Write a file that others see whole or not at all; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
