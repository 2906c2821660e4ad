"""The trees of both sides, with what ``bench_build`` has made of each.

Base's is its checkout. Head's is a copy of the working tree as git sees it. So nothing is written
among the user's files, and what an earlier build has left there is not used.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from paritygate.gate import products, revisions
from paritygate.gate.build import BuildError, Builds, Source
from paritygate.gate.request import GateRequest
from paritygate.gate.revisions import Worktree
from paritygate.gate.side_tree import Listing
from paritygate.host import paths

BUILDS = Path("cache", "builds")  # in the folder of paritygate's files


class BuiltSides:
    """Builds the sides, head first.

    ``failed``: side -> why it could not be built; base is not tried where head has failed. ``head``
    and ``base``: the project's folder in each tree. ``checkout``: head's whole tree.
    """

    def __init__(
        self, root: Path, worktree: Worktree, against: GateRequest, home: Path, python: str
    ) -> None:
        self._worktree, self._against, self._python = worktree, against, python
        self._folder = home / BUILDS
        self._repository = worktree.repository.resolve()
        self._project = PurePosixPath(root.resolve().relative_to(self._repository))
        self._files = revisions.files(self._repository)
        self._files_of_base = revisions.files(worktree.path)  # before anything is built there
        self._copies: list[Path] = []
        self.failed: dict[str, BuildError] = {}
        self._made: dict[str, products.Contents] = {}
        self.checkout = self._copied()
        # with another interpreter base is the working tree, too: only the interpreter differs
        self._base = worktree.path if against.python is None else self._copied()
        self.head, self.base = self.checkout / self._project, self._base / self._project

    @property
    def equal(self) -> bool:
        """Whether both builds have left the same files, byte for byte."""
        return len(self._made) == 2 and self._made["head"] == self._made["base"]

    def build(self, tell: Callable[[str], object], both: bool = True) -> None:
        """Build both sides, or head alone. Raises ``OSError``."""
        assert self._against.build is not None
        builds = Builds(
            self._folder,
            self._against.build,
            self._repository,
            self._project,
            self._against.sources,
            tell,
        )
        sources = {"head": self._source_of_head(), "base": self._source_of_base()}
        for side, source in sources.items() if both else [("head", sources["head"])]:
            try:
                self._made[side] = builds.add_to(source)
            except BuildError as error:
                tell(f"gate: {error}")
                self.failed[side] = error
                return

    def listings(self) -> dict[Path, Listing]:
        """Return the files of each side, by its project's folder. All that was built is the side's,
        beside the code under test, too.
        """
        return {
            tree: Listing(self._inside(source.files), self._inside(self._made.get(side, ())))
            for side, source, tree in (
                ("head", self._source_of_head(), self.head),
                ("base", self._source_of_base(), self.base),
            )
        }

    def close(self) -> None:
        """Remove the copies."""
        for copy in self._copies:
            shutil.rmtree(copy, ignore_errors=True)

    def _source_of_head(self) -> Source:
        return Source("head", self.checkout, self._files, self._python)

    def _source_of_base(self) -> Source:
        if self._against.python is not None:
            return Source("base", self._base, self._files, self._against.python)
        name = f"base ({self._against.name}, {self._worktree.commit[:12]})"
        return Source(name, self._base, self._files_of_base, self._python)

    def _copied(self) -> Path:
        """Return a new copy of the working tree, beside base's checkout."""
        copy = self._worktree.path.parent / paths.own_name()
        self._copies.append(copy)
        copy.mkdir()
        products.copy(self._repository, self._files, copy)
        return copy

    def _inside(self, files: Iterable[str]) -> list[str]:
        """Return those of the files that are the project's, relative to it."""
        return [
            str(file.relative_to(self._project))
            for file in map(PurePosixPath, files)
            if file.is_relative_to(self._project)
        ]
