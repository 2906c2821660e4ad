"""Known failures: the targets and the versions of packages that a key of ``Case.known_failures`` names.

A key is a glob over targets, versions as pip writes them, or both with a semicolon between::

    "cpu-compile-*"    "torch>=2.13"    "cpu-compile-*; torch>=2.13,<2.15; transformers<6"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

COMPARES = re.compile(r"[<>=~]")  # no glob over targets contains these
EXAMPLE = 'write a target, versions, or both, e.g. "cpu-compile-*; torch>=2.13,<2.15"'


@dataclass(frozen=True)
class Key:
    """A key after reading. ``target`` is a glob. The key applies if all ``versions`` are installed."""

    target: str
    versions: tuple[Requirement, ...]

    @classmethod
    def read(cls, text: str) -> Key:
        """Return the key of a text. Raises ``ValueError`` with the mistake in it."""
        parts = [part.strip() for part in text.split(";")]
        targets = [part for part in parts if not COMPARES.search(part)]
        if "" in parts or len(targets) > 1:
            what = "a part is empty" if "" in parts else f"{' and '.join(targets)} are two targets"
            raise ValueError(what)
        versions = tuple(_requirement(part) for part in parts if part not in targets)
        return cls(targets[0] if targets else "*", versions)

    def installed(self) -> list[str] | None:
        """Return "package version" of each package that the key names. None if one of them is not
        installed or has another version.
        """
        found = []
        for wanted in self.versions:
            here = installed(wanted.name)
            # with prereleases: a nightly build of 2.15 is not 2.14
            if here is None or not wanted.specifier.contains(here, prereleases=True):
                return None
            found.append(f"{wanted.name} {here}")
        return found


def known_failure(reasons: Mapping[str, str], matches: Callable[[str], bool]) -> str | None:
    """Return the reason of the first key that applies to a target and the installed packages, or
    None. If the key names versions, add the key and the installed versions to the reason.
    ``matches`` says whether a glob names the target.
    """
    for text, reason in reasons.items():
        key = Key.read(text)
        if matches(key.target) and (found := key.installed()) is not None:
            return f'{reason} ("{text}", here {", ".join(found)})' if found else reason
    return None


@cache
def installed(name: str) -> str | None:
    """Return the version of a package, or None if it is not installed. ``name`` is the package's
    name or that of a module of it, e.g. onnxruntime for onnxruntime-gpu. Imports nothing.
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
