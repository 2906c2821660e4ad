"""The command of the ini option ``bench_build``: read once, refused where it cannot be meant. Pure,
but for a look whether the program exists.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

INI = "ini bench_build"
OUT = "{out}"  # the folder for wheels
PYTHONS = {"python", "python3"}
PIPS = {"pip", "pip3"}
OF_A_SHELL = {"&&", "||", "|", ";", "&", ">", ">>", "<"}
EXAMPLE = f"pip wheel --no-deps --no-build-isolation -w {OUT} ."


class BuildCommandError(ValueError):
    """The ini option cannot be used. The message names it, its value, and what would be right."""


@dataclass(frozen=True)
class BuildCommand:
    """A command without a shell. ``text``: as it was written."""

    text: str
    words: tuple[str, ...]

    def arguments(self, python: str, out: Path) -> list[str]:
        """Return the arguments of the process. ``python`` and ``pip`` at the start are those of the
        interpreter ``python``; ``{out}`` is the folder ``out``.
        """
        first, *rest = (word.replace(OUT, str(out)) for word in self.words)
        if first in PIPS:
            return [python, "-m", "pip", *rest]
        return [python if first in PYTHONS else first, *rest]


def read(text: str, root: Path, python: str) -> BuildCommand | None:
    """Return the command in ``text``, or None if there is none.

    ``root``: the project, in which the command is run. ``python``: the interpreter, beside which
    programs are looked for, too. Raises ``BuildCommandError``.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise BuildCommandError(f"{INI}: {text!r} is not quoted as in a shell: {error}") from None
    if not words:
        return None
    wrong = {found for word in words for found in re.findall(r"\{\w*\}", word)} - {OUT}
    if wrong:
        raise BuildCommandError(
            f"{INI}: {text!r} has the placeholder {min(wrong)}; there is only {OUT}, a folder for wheels"
        )
    if found := OF_A_SHELL.intersection(words):
        raise BuildCommandError(
            f"{INI}: {text!r} has {min(found)!r}, but no shell runs it; put the commands into a script"
        )
    if _installs(words):
        raise BuildCommandError(
            f"{INI}: {text!r} installs into the environment, which both sides share; write e.g. {EXAMPLE}"
        )
    if words[0] not in PYTHONS | PIPS and not _program(words[0], root, python):
        raise BuildCommandError(
            f"{INI}: {text!r}: there is no program {words[0]!r} here; write e.g. {EXAMPLE}"
        )
    return BuildCommand(" ".join(text.split()), words)


def path_of(python: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return ``$PATH`` with the programs of an interpreter's environment first."""
    return os.pathsep.join([str(Path(python).parent), environment.get("PATH", os.defpath)])


def _program(word: str, root: Path, python: str) -> bool:
    if os.sep in word:
        return os.access(root / word, os.X_OK) and (root / word).is_file()
    return shutil.which(word, path=path_of(python)) is not None


def _installs(words: tuple[str, ...]) -> bool:
    """Return whether the command would change the environment of the interpreter."""
    first, *rest = words
    if first in PYTHONS and rest[:2] == ["-m", "pip"]:
        first, rest = "pip", rest[2:]
    if first in PIPS:
        return rest[:1] == ["install"] and not {"--target", "-t"}.intersection(rest)
    setup = first in PYTHONS and rest[:1] == ["setup.py"]
    return setup and bool({"install", "develop"}.intersection(rest))
