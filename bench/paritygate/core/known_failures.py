"""Known failures: the target and the versions of packages that a key of ``Case.known_failures`` means.

A key is a glob over targets, versions as pip writes them, or both with a semicolon between::

    "cpu-compile-*"    "torch>=2.13"    "cpu-compile-*; torch>=2.13,<2.15; transformers<6"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from paritygate.core.case import Target

COMPARES = re.compile(r"[<>=~]")  # which no glob over targets does
EXAMPLE = 'write a target, versions, or both, e.g. "cpu-compile-*; torch>=2.13,<2.15"'


@dataclass(frozen=True)
class Key:
    """A key as read. ``target`` is a glob; all ``versions`` must be the installed ones."""

    target: str
    versions: tuple[Requirement, ...]

    @classmethod
    def read(cls, text: str) -> Key:
        """Read a key; raise ValueError with what is wrong in it."""
        parts = [part.strip() for part in text.split(";")]
        targets = [part for part in parts if not COMPARES.search(part)]
        if "" in parts or len(targets) > 1:
            what = "a part is empty" if "" in parts else f"{' and '.join(targets)} are two targets"
            raise ValueError(what)
        versions = tuple(_requirement(part) for part in parts if part not in targets)
        return cls(targets[0] if targets else "*", versions)

    def installed(self) -> list[str] | None:
        """Return "package version" of each package that it names, or None where one is another
        version or not installed.
        """
        found = []
        for wanted in self.versions:
            here = installed(wanted.name)
            # prereleases, too: a nightly build of 2.15 is no 2.14
            if here is None or not wanted.specifier.contains(here, prereleases=True):
                return None
            found.append(f"{wanted.name} {here}")
        return found


def known_failure(reasons: Mapping[str, str], target: Target) -> str | None:
    """Return the reason of the first key that means this target with the packages installed here,
    or None; with the key and the versions found, where it names some.
    """
    for text, reason in reasons.items():
        key = Key.read(text)
        if target.matches(key.target) and (found := key.installed()) is not None:
            return f'{reason} ("{text}", here {", ".join(found)})' if found else reason
    return None


@cache
def installed(name: str) -> str | None:
    """Return the version of a package, by its own name or by what is imported of it (onnxruntime,
    say, of onnxruntime-gpu); None where it is not installed. Imports nothing.
    """
    try:
        return version(name)
    except PackageNotFoundError:
        providers = packages_distributions().get(name.replace("-", "_"), [])
        return version(providers[0]) if providers else None


def _requirement(text: str) -> Requirement:
    from packaging.requirements import InvalidRequirement, Requirement

    wrong = f"{text!r} is no package with its versions"
    try:
        found = Requirement(text)
    except InvalidRequirement:
        raise ValueError(wrong) from None
    if found.extras or found.url or not found.specifier:
        raise ValueError(wrong)
    return found
