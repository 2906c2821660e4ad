"""Slots: folders with paths of equal length. A measuring process imports the code under test of one
side through its slot.

Harness and suites are the same on both sides. Only ``bench_source`` differs, and it comes through
links. The slot of each side is drawn anew for every launch, so that no path can favour a side.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class Slots:
    """The slots below ``parent``, one for each side of a launch."""

    def __init__(self, parent: Path, root: Path, sources: Sequence[str], count: int = 3) -> None:
        self.root, self.sources = root.resolve(), list(sources)
        self.places = [parent / f"s{number}" for number in range(count)]

    def fill(self, order: Sequence[int], trees: Sequence[Path]) -> list[Path]:
        """Link the sources of ``trees[i]`` into slot ``order[i]``. Return the slot of each tree."""
        for number, tree in zip(order, trees, strict=True):
            for source in self.sources:
                link = self.places[number] / source
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(tree / source)
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

    @property
    def names(self) -> set[str]:
        """The top-level module names under test."""
        return {Path(source).stem for source in self.sources}


def strangers(sources: Mapping[str, str], names: set[str], slot: Path) -> list[str]:
    """Return the modules under test that were imported from outside the slot. With these, both
    sides would run the same code.
    """
    return [
        f"{module} from {file}"
        for module, file in sorted(sources.items())
        if module.partition(".")[0] in names and not Path(file).is_relative_to(slot)
    ]
