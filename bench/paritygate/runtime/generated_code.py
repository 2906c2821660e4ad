"""The code that inductor has generated for a model, as one fact: equal code does equal work."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from paritygate.runtime import private

# they name the user's variables, files, and the number of the graph in its process
COMMENTS = ("#", "//")
DIRECTIVES = ("#include", "#pragma", "#define", "#if", "#else", "#end", "#undef")


class GeneratedCode:
    """The modules that inductor generates from now on, or loads from its cache."""

    def __init__(self) -> None:
        # the modules themselves: the id of one that is gone may be given again
        self._before = {id(module): module for module in _modules() or ()}

    def digest(self) -> str | None:
        """Return a digest of their code without comments. Return None if there is none, or if torch
        does not report it.
        """
        files = [
            getattr(module, "__file__", None)
            for module in _modules() or ()
            if id(module) not in self._before
        ]
        if not files or None in files:
            return None
        try:
            parts = sorted(digest(Path(str(file)).read_text()) for file in files)
        except OSError:
            return None  # another process has emptied the cache
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:12]


def digest(source: str) -> str:
    """Return a digest of one module's source without the lines that are comments."""
    lines = (line for line in source.splitlines() if not _comment(line.strip()))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _comment(line: str) -> bool:
    return line.startswith(COMMENTS) and not line.startswith(DIRECTIVES)


def _modules() -> list[Any] | None:
    found: list[Any] | None = private.read("torch._inductor.codecache.PyCodeCache.modules")
    return found
