"""In a worker: what ``paritygate.host.lookup`` has found out about the path of its case's suite,
applied to imports.
"""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from paritygate.host.lookup import INSTALLED

STANDARD = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib"))
HARNESS = {"paritygate", "__main__"}


class OthersLast:
    """Stands in front of ``PathFinder`` and lets it look into the folders of other suites last.

    Raises ``ImportError`` for a module that several of them have and nobody else: which is meant
    cannot be told.
    """

    def __init__(self, suite: str, theirs: Sequence[str]) -> None:
        self.suite, self.theirs = suite, list(theirs)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a module is, as Python's import system asks it."""
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
        # a namespace package: it may have further parts in their folders, but never is theirs
        if alone is not None:
            whole = PathFinder.find_spec(name, entries, target)
            return whole if whole is not None and whole.loader is None else alone
        behind = sys.meta_path[sys.meta_path.index(PathFinder) + 1 :]
        for finder in behind:  # of editable installs
            if (spec := finder.find_spec(name, path, target)) is not None:
                return spec
        files = dict.fromkeys(filter(None, (_file(name, entry) for entry in theirs)))
        if len(files) > 1:
            raise ImportError(
                f"{name!r} is {' and is '.join(files)}, both in folders of other suites; the suite in {self.suite} has "
                "none of its own, so it cannot be told which is meant: give each of them another name, put one beside "
                "the suite, or run the suites one at a time",
                name=name,
            )
        return None

    def _of_others(self, entry: str, below: bool) -> bool:
        return any(
            entry == other or (below and entry.startswith(other + os.sep)) for other in self.theirs
        )


class Undecided(BaseException):
    """A module that means several files, one to each suite. No ``Exception``: nobody's ``except``
    shall take it.
    """


class NoOthers:
    """Stands in front of ``PathFinder`` in a fork server for several suites; ``folders`` are
    entries of single ones.

    Raises ``Undecided`` for what lies in one of them.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self.folders = list(folders)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, *_: object
    ) -> ModuleSpec | None:
        """Never where a module is; that is left to the finders behind."""
        if path is None:
            theirs = PathFinder.find_spec(
                name, [entry for entry in sys.path if entry in self.folders]
            )
            alone = PathFinder.find_spec(
                name, [entry for entry in sys.path if entry not in self.folders]
            )
            if theirs is not None and (theirs.loader is not None or alone is None):
                raise Undecided(name)
        return None


def import_for_all(name: str, folders: Sequence[str]) -> None:
    """Import a module in the fork server, unless it is or needs one of these folders: then it is
    left to the workers.

    What else goes wrong the worker that needs the module will meet and report.
    """
    before, finder = set(sys.modules), NoOthers(folders)
    sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)
    try:
        with suppress(Exception):  # whatever a user's module raises when it is imported
            importlib.import_module(name)
    except Undecided:
        for new in set(sys.modules) - before:  # half imported, or holding what is
            if _of_user(new):
                del sys.modules[new]
    finally:
        sys.meta_path.remove(finder)


def enter(lookup: dict[str, Any] | None) -> str:
    """Have this process import as a suite's cases do. Why it cannot any more, or "": a module is
    imported already.
    """
    if not lookup:
        return ""
    sys.path[:] = _reordered(sys.path, lookup["path"])
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, OthersLast)]
    finder = OthersLast(lookup["suite"], lookup["theirs"])
    sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)
    return _imported_before(finder)


def _reordered(path: Sequence[str], order: Sequence[str]) -> list[str]:
    """The path with the entries of ``order`` in that order, in the places that they have
    together.
    """
    present = [entry for entry in order if entry in path]
    rest = iter(present)
    seen: set[str] = set()
    found = []
    for entry in path:
        if entry in seen:
            continue
        seen.add(entry)
        found.append(next(rest) if entry in present else entry)
    return found


def _imported_before(finder: OthersLast) -> str:
    """Which of the user's modules this process has imported already, from another file than it
    should; or "".
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
                f"{name!r} was imported from {file} by this worker's fork server, for a backend; to the suite in "
                f"{finder.suite} it is {spec.origin}: import it in the backend's prepare(), or give each of the two "
                "another name"
            )
    return ""


def _of_user(name: str) -> bool:
    """Whether an imported module is of a file that is neither Python's, nor installed, nor this
    harness's.
    """
    # some have a getattr that imports more
    file = getattr(sys.modules[name], "__dict__", {}).get("__file__")
    if not isinstance(file, str) or not os.path.isabs(file) or name.partition(".")[0] in HARNESS:
        return False
    return not file.startswith(STANDARD) and not any(
        f"{os.sep}{folder}{os.sep}" in file for folder in INSTALLED
    )


def _file(name: str, entry: str) -> str | None:
    spec = PathFinder.find_spec(name, [entry])
    return (
        None
        if spec is None or spec.loader is None or spec.origin is None
        else os.path.realpath(spec.origin)
    )
