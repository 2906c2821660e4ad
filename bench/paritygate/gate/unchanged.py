"""The unchanged cells of one gate: find them before anything is measured, and keep the closures of
the others for the next run.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from paritygate.core.case import Case, Cell
from paritygate.gate import revisions
from paritygate.gate.closure import Closures, Entry, Tree, entries
from paritygate.gate.identical import Change, document
from paritygate.gate.revisions import RevisionError, Worktree


class Unchanged:
    """Compares the working tree with a checkout of base.

    ``root``: the project. ``sources``: its code under test, relative to it. ``folder``: of the
    closures. ``built``: whether each side is built, with a result that is not known yet.
    """

    def __init__(
        self,
        root: Path,
        worktree: Worktree,
        sources: Sequence[str],
        folder: Path,
        budget: str,
        built: bool = False,
    ) -> None:
        repository = worktree.repository.resolve()
        self._closures, self._began = Closures(folder, budget), time.time()
        project = PurePosixPath(root.resolve().relative_to(repository))
        head = Tree(repository, revisions.files(repository))
        base = Tree(worktree.path, revisions.files(worktree.path), head)
        self._change = Change(
            base=base,
            head=head,
            files=revisions.changed(repository, worktree.commit),
            project=str(project),
            sources=[str(project / source) for source in sources],
            imported=frozenset(_imported(repository)),
            built=built,
        )

    @property
    def code_differs(self) -> bool:
        """Whether anything but documents differs."""
        return not all(map(document, self._change.files))

    def find(self, cells: Iterable[Cell]) -> dict[str, str]:
        """Return why cells are identical on both sides: id -> reason.

        Raises ``RevisionError`` for a pattern of ``depends`` that fits no file.
        """
        found = {}
        for cell in cells:
            self._check_depends(cell.case)
            closure = self._closures.known(cell, self._change.head)
            if reason := self._change.identical(cell.case, closure):
                found[cell.id] = reason
        return found

    def builds_are_equal(self) -> None:
        """Note that the builds of both sides have left the same files. Then they matter to no cell."""
        self._change = replace(self._change, built=False)

    def keep(
        self,
        cell: Cell,
        notes: Iterable[Path],
        places: Mapping[str, str],
        checkouts: Iterable[Path] = (),
    ) -> None:
        """Keep what head's processes have used for a cell, unless a file was edited meanwhile.

        ``notes``: the files in which they have noted it. ``places``: folder -> the folder of the
        project that it shows. ``checkouts``: folders that show the whole repository. Raises
        ``OSError`` and ``ValueError`` for notes that cannot be read.
        """
        head, project = self._change.head, self._change.project
        shown = {place: str(PurePosixPath(project, path)) for place, path in places.items()}
        texts = [file.read_text() for file in notes]
        lines = [line for text in texts for line in text.splitlines()]
        used: set[Entry] = {(kind, name) for kind, name in map(json.loads, lines)}
        if not all(texts) or any(kind == "process" for kind, _ in used):
            return  # nothing is known of what some process has used
        shown |= {str(checkout.resolve()): "." for checkout in checkouts}
        found = entries(used, shown | {str(head.root): "."})  # a checkout may lie in it
        found |= {(kind, head.target(name)) for kind, name in found if kind != "module"}
        files = [head.root / name for kind, name in found if kind == "file"]
        if all(file.stat().st_mtime < self._began for file in files if file.exists()):
            self._closures.keep(cell, found, head)

    def _check_depends(self, case: Case) -> None:
        for pattern in case.depends:
            if not self._change.fits(pattern, self._change.head.files | self._change.base.files):
                raise RevisionError(
                    f"case {case.name}: depends names {pattern!r}, which fits no file of the project"
                )


def _imported(repository: Path) -> Iterable[str]:
    """Return the files of a repository that this process has imported, relative to it."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(file, str):
            path = Path(file).resolve()
            if path.is_relative_to(repository):
                yield str(path.relative_to(repository))
