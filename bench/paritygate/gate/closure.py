"""The closure of a cell: what its measuring processes use of a repository, each with a digest.

It holds the files that they open (code or data), the folders that they list, and the modules that
they ask for, found or not. If all of it is equal in two trees, the processes do the same in both:
their first step is the same, and so is each next one.

Closures are kept in ``.paritygate/cache/closures``, one file for each cell. A closure is believed
only where every digest is that of the tree at hand, so one of another commit is no danger.

Not in it: environment variables, and what a program in another language reads by itself.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath

from paritygate.core.case import Cell
from paritygate.core.work import work
from paritygate.host.paths import NAME

FORMAT = 1
LARGE = 2**26  # bytes; of a larger file that git does not have, size and time stand for its content
OWN = {NAME, ".git", "__pycache__"}  # folders that hold nothing of the user's code
STANDARD = "standard library"  # the files whose name hides a module of it

Entry = tuple[str, str]  # kind ("file", "folder" or "module"), and path or name


class Tree:
    """The files of one side. ``files``: those that git has, relative to ``root``, with untracked
    ones. Ignored files are those of ``working``, the working tree, on both sides.
    """

    def __init__(self, root: Path, files: Iterable[str], working: Tree | None = None) -> None:
        self.root, self.files = root, frozenset(files)
        self._working = working or self
        self._folders: dict[str, set[str]] = {}
        self._providers: dict[str, list[str]] = {}
        for file in sorted(self.files):
            path = PurePosixPath(file)
            for place in (path, *path.parents[:-1]):
                self._folders.setdefault(str(place.parent), set()).add(place.name)
            for name in names(file):
                self._providers.setdefault(name, []).append(file)
        self._digests: dict[Entry, str] = {}

    def target(self, name: str) -> str:
        """Return the path to which a path leads through links, relative to the repository."""
        path = (self.root / name).resolve()
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else name

    def digest(self, entry: Entry) -> str:
        """Return the digest of an entry in this tree; "" if it is not there."""
        if entry not in self._digests:
            self._digests[entry] = self._digest(*entry)
        return self._digests[entry]

    def _digest(self, kind: str, name: str) -> str:
        if kind == "folder":
            found = sorted(self._folders.get(name, ()))
        elif kind == "module":
            tops = sys.stdlib_module_names if name == STANDARD else (name,)
            found = sorted(file for top in tops for file in self._providers.get(top, ()))
        else:
            return self._content(name)
        return hashlib.sha256("\0".join(found).encode()).hexdigest() if found else ""

    def _content(self, file: str) -> str:
        ignored = file not in self.files and file not in self._working.files
        path = (self._working if ignored else self).root / file
        try:
            if ignored and path.stat().st_size > LARGE:
                return f"{path.stat().st_size} bytes of {path.stat().st_mtime_ns}"
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:  # no such file, or a folder
            return ""


def names(file: str) -> list[str]:
    """Return the names by which a file can be imported, from any folder above it; [] if it is no
    Python code.
    """
    path = PurePosixPath(file)
    stem, dot, suffix = path.name.partition(".")
    if not dot or suffix.rpartition(".")[2] not in ("py", "pyc", "so", "pyd"):
        return []
    parts = path.parent.parts if stem == "__init__" else (*path.parent.parts, stem)
    return [".".join(parts[first:]) for first in range(len(parts))]


def entries(used: Iterable[Entry], places: Mapping[str, str]) -> set[Entry]:
    """Return what processes have used, relative to the repository.

    ``places``: folder -> the folder of the repository that it shows, relative to it.
    """
    found = {("module", STANDARD)}
    for kind, name in used:
        if kind == "module":
            found.add((kind, name))
            continue
        for folder, shown in places.items():
            path = Path(name)
            if path.is_relative_to(folder):
                inside = PurePosixPath(shown, path.relative_to(folder))
                if not OWN.intersection(inside.parts):
                    found.add((kind, str(inside)))
                break
    return found


class Closures:
    """The closures that earlier runs have kept in a folder."""

    def __init__(self, folder: Path, budget: str) -> None:
        self._folder, self._budget = folder, budget

    def known(self, cell: Cell, head: Tree) -> frozenset[Entry] | None:
        """Return the closure of a cell, if one is known that holds in head's tree."""
        try:
            kept = json.loads(self._path(cell).read_text())
            if kept["of"] != self._of(cell):
                return None
            found = {(kind, name): digest for kind, name, digest in kept["entries"]}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        holds = all(head.digest(entry) == digest for entry, digest in found.items())
        return frozenset(found) if holds and found else None

    def keep(self, cell: Cell, found: Iterable[Entry], head: Tree) -> None:
        """Keep the closure of a cell, as it is in head's tree."""
        lines = [[kind, name, head.digest((kind, name))] for kind, name in sorted(found)]
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(cell)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({"of": self._of(cell), "entries": lines}, indent=0))
        partial.replace(path)

    def _path(self, cell: Cell) -> Path:
        return self._folder / f"{cell.id}.json"

    def _of(self, cell: Cell) -> dict[str, object]:
        """Return what a closure depends on beside the tree."""
        return {
            "format": FORMAT,
            "work": dict(work(cell)),
            "budget": self._budget,
            "environment": _environment(),
        }


@cache
def _environment() -> str:
    """Return a digest of the interpreter and of the installed packages."""
    packages = sorted({f"{d.name}=={d.version}" for d in metadata.distributions()})
    text = "\n".join([sys.version, sys.platform, platform.machine(), *packages])
    return hashlib.sha256(text.encode()).hexdigest()
