"""Lookup: the file that a module's name means to a case, where several suites lie on one path.
Imports none of their modules.

pytest puts the folder of every test file on ``sys.path``, so the path of a run may hold two modules
of one name. A name means to a case the module that it would mean if its own suite were run alone.
The folders of other suites are used only for modules that are not found otherwise.
``paritygate.runtime.sources`` applies this in the worker.
"""

from __future__ import annotations

import os
import pkgutil
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

INSTALLED = {"site-packages", "dist-packages"}
STANDARD = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib"))
HARNESS = str(Path(__file__).parents[1]) + os.sep


def of_user(file: str) -> bool:
    """Return whether a file is the user's: neither Python's, nor installed, nor this harness's."""
    return (
        os.path.isabs(file)
        and not file.startswith((*STANDARD, HARNESS))
        and not any(f"{os.sep}{folder}{os.sep}" in file for folder in INSTALLED)
    )


@dataclass(frozen=True)
class Order:
    """The path of one suite's cases. Its own folders come before those of other suites; ``theirs``
    are searched last.
    """

    suite: str
    path: list[str]
    theirs: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the order as plain data (JSON), for the worker."""
        return asdict(self)


class Suites:
    """The folders of the test files and conftests of a session.

    ``configured``: path entries that the user has set (ini ``pythonpath``, ``$PYTHONPATH``). They
    belong to every suite.
    """

    def __init__(self, configured: Iterable[str | Path] = ()) -> None:
        self.folders: set[Path] = set()
        self.configured = {Path(entry).resolve() for entry in configured if str(entry)}

    def add(self, file: Path) -> None:
        """Add the folder of a test file or a conftest."""
        self.folders.add(file.parent.resolve())


class Lookup:
    """The path of a process, for the suites of a session. ``places``: entry -> the folder that its
    link points to (source links of the gate).
    """

    def __init__(
        self, suites: Suites, path: Sequence[str], places: Mapping[str, Path] | None = None
    ) -> None:
        self.suites, self.places = suites, dict(places or {})
        self.path = list(dict.fromkeys(entry or os.getcwd() for entry in path))
        self._at = {entry: self.places.get(entry) or Path(entry).resolve() for entry in self.path}

    def order(self, suite: str) -> Order | None:
        """Return the order for cases of the suite in this folder; None where no other suite's
        folder is on the path.
        """
        others = self._others(suite) if suite else []
        if not others:
            return None
        home, ordered = Path(suite).resolve(), list[str]()
        links = [entry for entry in self.path if entry in self.places]
        rest = [entry for entry in self.path if entry not in self.places]
        for part in (links, rest):  # source links stay first
            own = [entry for entry in part if home.is_relative_to(self._at[entry])]
            for entry in part:
                # an own entry that also contains the other's folder does not move before it
                if entry in others:
                    ordered += [
                        mine for mine in own if not self._at[entry].is_relative_to(self._at[mine])
                    ]
                ordered.append(entry)
        theirs = [entry for entry in others if self._at[entry] not in self.suites.configured]
        return Order(suite, list(dict.fromkeys(ordered)), theirs)

    def apart(self, suites: Iterable[str]) -> list[str]:
        """Return the path entries that are another suite's for one of these suites: a module there
        may mean a different file to each.
        """
        return list(
            dict.fromkeys(entry for suite in suites if suite for entry in self._others(suite))
        )

    def locate(self, module: str, suite: str) -> str | None:
        """Return the file (or folder) that a module's name means to a suite; None where there is
        none on the path.
        """
        spec, name = None, ""
        path, theirs = self._path_of(suite)
        for part in module.split("."):
            name = f"{name}.{part}".lstrip(".")
            spec = _own_first(name, path, theirs)
            if spec is None:
                return None
            path = list(spec.submodule_search_locations or ())
        return None if spec is None else spec.origin or next(iter(path), None)

    def missing(self, module: str, suite: str) -> str:
        """Return why a module cannot be imported, with the nearest name that exists. Return "" if it
        can be imported, or if only an import can show it. Nothing is imported.
        """
        name, parent = "", None
        path, theirs = self._path_of(suite)
        for part in module.split("."):
            name = f"{name}.{part}".lstrip(".")
            spec = _own_first(name, path, theirs) or (
                _of_other_finders(name) if parent is None else None
            )
            if spec is None:
                if name in sys.modules or (parent is not None and _makes_modules(parent)):
                    return ""
                beside = {found.name for found in pkgutil.iter_modules(path)}
                near = get_close_matches(part, beside, 1)
                mean = "".join(f"; did you mean {name.removesuffix(part) + one!r}?" for one in near)
                if parent is not None and parent.submodule_search_locations is None:
                    mean = f": {parent.name!r} is a module and no package"
                return f"there is no module {name!r}{mean}"
            path, parent = list(spec.submodule_search_locations or ()), spec
        return ""

    def _path_of(self, suite: str) -> tuple[list[str], list[str]]:
        """Return the path in the order of a suite's cases, and its entries of other suites."""
        order = self.order(suite)
        return (self.path, []) if order is None else (order.path, order.theirs)

    def _others(self, suite: str) -> list[str]:
        """Return the entries that hold test files, but none of this suite."""
        home = Path(suite).resolve()
        return [
            entry
            for entry, place in self._at.items()
            if not home.is_relative_to(place)
            and INSTALLED.isdisjoint(place.parts)
            and any(folder.is_relative_to(place) for folder in self.suites.folders)
        ]


def _of_other_finders(name: str) -> ModuleSpec | None:
    """Return the spec of a top-level module that is on no path: built in, or installed editable."""
    with suppress(ImportError, ValueError):  # the module may have no spec
        return find_spec(name)
    return None


def _makes_modules(parent: ModuleSpec) -> bool:
    """Return whether a package may have modules outside its folders, judging from its code."""
    if parent.origin is None:
        return False  # a namespace package consists of folders only
    origin = Path(parent.origin)
    if origin.suffix != ".py":
        return True
    code = origin.read_text("utf-8", errors="replace")
    return "__path__" in code or "sys.modules" in code


def _own_first(name: str, path: Iterable[str], theirs: Sequence[str]) -> ModuleSpec | None:
    """Return the spec of a module as a worker finds it (``runtime/sources.py: OthersLast``): the
    folders of other suites come last, and may only add parts to a namespace package.
    """
    entries, below = list(path), "." in name
    others = [
        entry
        for entry in entries
        if entry in theirs or (below and any(entry.startswith(one + os.sep) for one in theirs))
    ]
    own = [entry for entry in entries if entry not in others]
    alone, whole = _spec(name, own), _spec(name, [*own, *others])
    if alone is None or alone.loader is not None:
        return alone or whole
    return whole if whole is not None and whole.loader is None else alone


def _spec(name: str, path: Iterable[str]) -> ModuleSpec | None:
    """Return the spec of a module on these entries, in the order that ``PathFinder`` uses. Its
    parents are not imported.
    """
    namespace: ModuleSpec | None = None
    for entry in path:
        finder = pkgutil.get_importer(entry)
        spec = None if finder is None else finder.find_spec(name)
        if spec is not None and spec.loader is not None:
            return spec
        if spec is not None and namespace is None:
            namespace = spec
        elif spec is not None and namespace is not None:
            assert namespace.submodule_search_locations is not None
            namespace.submodule_search_locations += spec.submodule_search_locations or []
    return namespace
