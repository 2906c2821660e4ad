"""Which cells run identical code and data on both sides? They need no launch. Pure, but for the
digests that the trees read.

A cell is identical if its closure is known and equal in both trees, and if no file has changed that
a library in another language could read unseen. These are the data files of the project, of
``bench_source`` and beside it. Where a case names its data (``depends``), they are those that it
names. A document, or a file whose name begins with a dot, is only read by Python.

Where the closure of a cell is not known, it is identical if nothing has changed but such documents,
outside ``bench_source``.

The command ``bench_build`` may read any file of a tree. Until both sides are built, and where
their builds differ, a cell is identical only if texts alone have changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from paritygate.core.case import Case
from paritygate.core.reasons import counted
from paritygate.gate.closure import Entry, Tree

DOCUMENTS = {".md", ".rst", ".adoc"}
PLAIN = {"LICENSE", "Makefile"}  # documents without a suffix
PYTHON = {".py", ".pyi"}


@dataclass(frozen=True)
class Change:
    """The difference between the sides.

    ``files``: paths in the repository that were changed, added or removed. ``project`` and
    ``sources``: the project and its code under test, likewise. ``imported``: the files that the
    pytest process has imported, such as suites. ``built``: whether each side is built, with another
    result, or one that is not known yet.
    """

    base: Tree
    head: Tree
    files: Sequence[str]
    project: str
    sources: Sequence[str]
    imported: frozenset[str]
    built: bool = False

    def identical(self, case: Case, closure: Iterable[Entry] | None) -> str:
        """Return why a cell of this case is identical on both sides, or "" if it may differ.

        ``closure``: None if it is not known.
        """
        if self.imported.intersection(self.files):
            return ""
        if self.built and not all(map(_text, self.files)):
            return ""
        if closure is None:
            harmless = all(document(file) and not self._source(file) for file in self.files)
            return "no code and no data differs" if harmless else ""
        entries = list(closure)
        if any(self.base.digest(entry) != self.head.digest(entry) for entry in entries):
            return ""
        used = {name for kind, name in entries if kind == "file"}
        if any(self._may_matter(file, case) for file in self.files if file not in used):
            return ""
        return f"identical code and data, in {counted(len(used), 'file')}"

    def fits(self, pattern: str, files: Iterable[str]) -> bool:
        """Return whether a pattern of ``Case.depends`` fits one of these files."""
        inside = str(PurePosixPath(self.project, pattern))
        return any(fnmatchcase(file, inside) for file in files)

    def _may_matter(self, file: str, case: Case) -> bool:
        """Return whether a file that Python did not open may matter to a case."""
        path = PurePosixPath(file)
        if path.suffix in PYTHON or document(file) or not path.is_relative_to(self.project):
            return False
        return not case.depends or any(self.fits(one, [file]) for one in case.depends)

    def _source(self, file: str) -> bool:
        return any(PurePosixPath(file).is_relative_to(source) for source in self.sources)


def document(file: str) -> bool:
    """Return whether a file is a document, or hidden. No library reads such a file unseen."""
    path = PurePosixPath(file)
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or path.suffix in DOCUMENTS or path.name in PLAIN


def _text(file: str) -> bool:
    """Return whether a file is a text for people, which no build reads into its result. A Makefile
    and a hidden file may be read.
    """
    path = PurePosixPath(file)
    return path.suffix in DOCUMENTS or path.parts[0] == ".github"
