"""Slots: folders with paths of equal length. A measuring process imports the code under test of one
side through its slot.

Harness and suites are the same on both sides. Only ``bench_source`` differs, and it comes through
links, with the files beside it (``side_tree.py``). The slot of each side is drawn anew for every
launch, so that no path can favour a side.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from paritygate.gate.revisions import files
from paritygate.gate.side_tree import Listing, SideTree


class Slots:
    """The slots below ``parent``, one for each side of a launch.

    ``built``: the files of the trees in which something was built. Git lists those of other trees.
    """

    def __init__(
        self,
        parent: Path,
        root: Path,
        sources: Sequence[str],
        built: Mapping[Path, Listing] | None = None,
        count: int = 3,
    ) -> None:
        self.root, self.sources = root.resolve(), list(sources)
        self.places = [parent / f"s{number}" for number in range(count)]
        self._parent, self._trees = parent, dict[Path, Path]()
        self._listings = built or {}
        self._side_tree = SideTree(self.root, Listing(files(self.root)), sources, built=bool(built))

    def fill(self, order: Sequence[int], trees: Sequence[Path]) -> list[Path]:
        """Let slot ``order[i]`` show ``trees[i]``. Return the slot of each tree."""
        for number, tree in zip(order, trees, strict=True):
            link = self.places[number]
            link.unlink(missing_ok=True)
            link.symlink_to(self._laid_out(tree))
        return [self.places[number] for number in order]

    def path(self, slot: Path, existing: Sequence[str] = sys.path) -> list[str]:
        """Return ``sys.path`` for a process of that slot. Entries inside the project come from the
        slot first.
        """
        inside = []
        for entry in existing:
            place = Path(entry or ".").resolve()
            if place.is_relative_to(self.root):
                inside.append(str(slot / place.relative_to(self.root)))
        return [*dict.fromkeys([*inside, str(slot)]), *existing]

    def stands_for(self, slot: Path, existing: Sequence[str] = sys.path) -> dict[str, Path]:
        """Return for each entry of a slot on that path the folder of the project that it stands
        for.
        """
        entries = [entry for entry in self.path(slot, existing) if entry not in existing]
        return {entry: self.root / Path(entry).relative_to(slot) for entry in entries}

    def watched(self, slot: Path) -> list[str]:
        """Return the folders through which a process of that slot sees the project, besides the
        side's own tree: code may resolve links.
        """
        return [str(slot), str(slot.resolve())]

    def places_shown(self, slot: Path) -> dict[str, str]:
        """Return the folders that show the tree of that slot, as it is drawn now or was before."""
        return dict.fromkeys([*map(str, self.places), str(slot.resolve())], ".")

    def under_test(self, modules: Mapping[str, str], slot: Path) -> bool:
        """Return whether one of these modules, each with its file, is code under test."""
        return any(self._side_tree.under_test(file, slot) for file in modules.values())

    def strangers(
        self, modules: Mapping[str, str], slot: Path, existing: Sequence[str] = sys.path
    ) -> list[str]:
        """Return the modules under test that were imported from outside the slot. With these, both
        sides would run the same code.
        """
        names = self._names(existing)
        return [
            f"{module} from {file}"
            for module, file in sorted(modules.items())
            if not Path(file).is_relative_to(slot)
            and (
                self._side_tree.under_test(file, self.root)
                or any(f"{module}.".startswith(f"{name}.") for name in names)
            )
        ]

    def _names(self, existing: Sequence[str]) -> set[str]:
        """Return the names by which the sources are imported, from the folders of the path."""
        folders = {self.root, *(Path(entry or ".").resolve() for entry in existing)}
        names = set()
        for source in (self.root / source for source in self.sources):
            for folder in folders:
                if source == folder:  # a root of packages
                    names |= {entry.stem for entry in source.glob("[!._]*")}
                elif source.is_relative_to(folder):
                    names.add(".".join(source.relative_to(folder).with_suffix("").parts))
        return names

    def _laid_out(self, tree: Path) -> Path:
        """Return the folder of links of a tree. It is made once."""
        if tree not in self._trees:
            folder = self._parent / f"tree-{len(self._trees)}"
            listing = self._listings.get(tree) or Listing(files(tree))
            self._side_tree.lay_out(folder, tree, listing)
            self._trees[tree] = folder
        return self._trees[tree]
