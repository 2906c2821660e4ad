"""Applies the import path of a case's suite, from ``paritygate.host.lookup``, to the imports of a
worker, and of a fork server for several suites.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from paritygate.host.lookup import of_user


class OthersLast:
    """A finder in front of ``PathFinder`` that searches the folders of other suites last.

    Raises ``ImportError`` for a module that several other suites have and no other folder: it is
    ambiguous.
    """

    def __init__(self, suite: str, theirs: Sequence[str]) -> None:
        self.suite, self.theirs = suite, list(theirs)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module, for Python's import system."""
        # inside a package; a namespace package may have parts in many folders
        if path is not None and len(path) < 2:
            return None
        entries = sys.path if path is None else list(path)
        theirs = [entry for entry in entries if self._of_others(entry, below=path is not None)]
        if not theirs:
            return None
        alone = PathFinder.find_spec(
            name, [entry for entry in entries if entry not in theirs], target
        )
        if alone is not None and alone.loader is not None:
            return alone
        # a namespace package: it may have more parts in their folders, but is never theirs alone
        if alone is not None:
            whole = PathFinder.find_spec(name, entries, target)
            return whole if whole is not None and whole.loader is None else alone
        behind = sys.meta_path[sys.meta_path.index(PathFinder) + 1 :]
        for finder in behind:  # finders of editable installs
            if (spec := finder.find_spec(name, path, target)) is not None:
                return spec
        files = dict.fromkeys(filter(None, (_file(name, entry) for entry in theirs)))
        if len(files) > 1:
            raise ImportError(
                f"{name!r} is {' and is '.join(files)}, both in folders of other suites; the suite in {self.suite} has "
                "none of its own, so the name is ambiguous: give each of them another name, put one beside the suite, "
                "or run the suites one at a time",
                name=name,
            )
        return None

    def _of_others(self, entry: str, below: bool) -> bool:
        return any(
            entry == other or (below and entry.startswith(other + os.sep)) for other in self.theirs
        )


class AmbiguousModule(BaseException):
    """A name means different modules to different suites. It is no ``Exception``, so that no
    ``except`` of a user catches it.
    """


class NoOthers:
    """A finder in front of ``PathFinder`` in a fork server for several suites. ``folders``: path
    entries of single suites.

    Raises ``AmbiguousModule`` for a module in one of these folders.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self.folders = list(folders)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, *_: object
    ) -> ModuleSpec | None:
        """Return None, so that the finders behind find the module; or raise ``AmbiguousModule``."""
        if path is None:
            theirs = PathFinder.find_spec(
                name, [entry for entry in sys.path if entry in self.folders]
            )
            alone = PathFinder.find_spec(
                name, [entry for entry in sys.path if entry not in self.folders]
            )
            if theirs is not None and (theirs.loader is not None or alone is None):
                raise AmbiguousModule(name)
        return None


def import_for_all(name: str, folders: Sequence[str]) -> None:
    """Import a module in the fork server. If it is in one of these folders, or needs a module
    there, leave it to the workers.

    Any other error is left to the worker that needs the module: it meets and reports it.
    """
    before, finder = set(sys.modules), NoOthers(folders)
    sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)
    try:
        with suppress(Exception):  # whatever a user's module raises when it is imported
            importlib.import_module(name)
    except AmbiguousModule:
        for new in set(sys.modules) - before:  # half imported, or using a module that is
            if _of_user(new):
                del sys.modules[new]
    finally:
        sys.meta_path.remove(finder)


def enter(lookup: dict[str, Any] | None) -> str:
    """Set this process's import path to that of a suite's cases.

    Return "", or why it is too late: a module is already imported from another file.
    """
    if not lookup:
        return ""
    sys.path[:] = _reordered(sys.path, lookup["path"])
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, OthersLast)]
    finder = OthersLast(lookup["suite"], lookup["theirs"])
    sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)
    return _imported_before(finder)


def _reordered(path: Sequence[str], order: Sequence[str]) -> list[str]:
    """Return the path with the entries of ``order`` in that order. Together they keep the positions
    that they have.
    """
    present = [entry for entry in order if entry in path]
    rest = iter(present)
    seen: set[str] = set()
    reordered = []
    for entry in path:
        if entry in seen:
            continue
        seen.add(entry)
        reordered.append(next(rest) if entry in present else entry)
    return reordered


def _imported_before(finder: OthersLast) -> str:
    """Return a message about a user's module that this process has already imported from a wrong
    file; or "".
    """
    for name in filter(_of_user, list(sys.modules)):
        file = str(sys.modules[name].__file__)
        parent = sys.modules.get(name.rpartition(".")[0])
        path = list(getattr(parent, "__path__", ())) if "." in name else None
        try:
            spec = finder.find_spec(name, path) or PathFinder.find_spec(name, path)
        except ImportError as error:
            return str(error)
        if (
            spec is not None
            and spec.origin
            and os.path.realpath(spec.origin) != os.path.realpath(file)
        ):
            return (
                f"{name!r} was imported from {file} by this worker's fork server, for a backend; for the suite in "
                f"{finder.suite} it is {spec.origin}: import it in the backend's prepare(), or give each of the two "
                "another name"
            )
    return ""


def _of_user(name: str) -> bool:
    """Return whether an imported module is the user's."""
    # some have a getattr that imports more
    file = getattr(sys.modules[name], "__dict__", {}).get("__file__")
    return isinstance(file, str) and of_user(file)


def _file(name: str, entry: str) -> str | None:
    spec = PathFinder.find_spec(name, [entry])
    return (
        None
        if spec is None or spec.loader is None or spec.origin is None
        else os.path.realpath(spec.origin)
    )
