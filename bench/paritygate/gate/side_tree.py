"""The tree of a side: a folder of links in which a measuring process finds every file at its place,
and imports only the code under test from that side.

- A source (ini ``bench_source``) is the side's.
- Any other file that git has is the side's, too, except Python code. So code that reads
  ``configs/net.json`` beside its package reads that of its own revision.
- Other Python code is head's on both sides. It is imported from the project, not from here. Only a
  package with a source inside holds its other modules, as links to head's.
- Files that git ignores, in a folder above a source, are those of the working tree.
- Files that ``bench_build`` has made are the side's, and no compiled ones of the working tree are
  used then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from paritygate.gate.products import compiled

CODE = {".py", ".pyi", ".pyx", ".so", ".pyd"}


class Listing:
    """The files that git has in a tree. ``paths``: relative to it. ``built``: the files that were
    built there, which are no code of head's.
    """

    def __init__(self, paths: Iterable[str], built: Iterable[str] = ()) -> None:
        self.children: dict[PurePosixPath, set[PurePosixPath]] = {}
        self.code: set[PurePosixPath] = set()  # files of code, and folders with some below
        known, made = set(map(PurePosixPath, paths)), set(map(PurePosixPath, built))
        for path in known | made:
            for place in (path, *path.parents[:-1]):
                self.children.setdefault(place.parent, set()).add(place)
            if path.suffix in CODE and path in known:
                self.code |= {path, *path.parents}


def may_differ(files: Iterable[str], sources: Sequence[str]) -> bool:
    """Return whether one of these files of a project may differ between sides: any one of a source,
    and data.
    """
    return any(
        file.suffix not in CODE or any(file.is_relative_to(source) for source in sources)
        for file in map(PurePosixPath, files)
    )


class SideTree:
    """Lays out the trees of one project.

    ``root``: head's tree, with its ``listing``. ``sources``: paths relative to it. ``built``: whether
    the sides bring compiled files of their own.
    """

    def __init__(
        self, root: Path, listing: Listing, sources: Sequence[str], built: bool = False
    ) -> None:
        self.root, self._heads, self._built = root, listing, built
        self.sources = {PurePosixPath(source) for source in sources}
        self._above = {folder for source in self.sources for folder in source.parents}

    def lay_out(self, folder: Path, tree: Path, listing: Listing) -> None:
        """Make ``folder``, and fill it with the links of the side whose tree this is."""
        self._fill(folder, PurePosixPath(), tree, listing)

    def under_test(self, file: str, folder: Path) -> bool:
        """Return whether a file is that of a source, seen through the links in ``folder``."""
        return any(Path(file).is_relative_to(folder / source) for source in self.sources)

    def _fill(self, folder: Path, place: PurePosixPath, tree: Path, listing: Listing) -> None:
        (folder / place).mkdir(parents=True)
        own = listing.children.get(place, set())
        heads = self._heads.children.get(place, set())
        package = place in self._above and (self.root / place / "__init__.py").exists()
        sources = {source for source in self.sources if source.parent == place}
        known = own | heads | sources
        for child in known:
            link = folder / child
            code = child in listing.code or child in self._heads.code
            inside = child in listing.children or child in self._heads.children
            if child in sources or (not code and child in own):
                link.symlink_to(tree / child)
            elif child in self._above or (code and inside and not package):
                self._fill(folder, child, tree, listing)
            elif code and package:
                link.symlink_to(self.root / child)
        if place in self._above:
            names = {child.name for child in known}
            for entry in (self.root / place).iterdir():
                stale = self._built and compiled(entry.name)
                hidden = entry.name.startswith((".", "__pycache__"))
                if entry.name not in names and not hidden and not stale:
                    (folder / place / entry.name).symlink_to(entry)
