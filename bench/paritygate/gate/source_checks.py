"""Refuse code under test (ini ``bench_source``) that the gate could not keep apart by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from paritygate.gate import revisions
from paritygate.gate.build_command import EXAMPLE
from paritygate.gate.products import compiled
from paritygate.gate.revisions import RevisionError, Worktree

NAMED = 3  # files in a message


def check_places(root: Path, sources: Sequence[str]) -> None:
    """Refuse a source that does not exist, and a source whose link would lie outside its slot or
    inside another source's link. Raises ``RevisionError``.
    """
    for source in sources:
        path = Path(source)
        if not (root / path).exists():
            raise RevisionError(
                f"bench_source: {source!r} is not in {root}; it names the code under test, one path in each line"
            )
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise RevisionError(f"bench_source: {source!r} must be a path below {root}, without ..")
        for other in map(Path, sources):
            if other in path.parents:
                raise RevisionError(
                    f"bench_source: {source!r} is in {str(other)!r}, which is named, too; leave it out"
                )


def check_compiled(root: Path, sources: Sequence[str]) -> None:
    """Refuse compiled files in a source that git does not have. They are from one state of the code,
    and only in the working tree. Raises ``RevisionError``.
    """
    found = [
        file
        for file in revisions.untracked(root, sources)
        if compiled(file) and not any(part.startswith(".") for part in Path(file).parts)
    ]
    if not found:
        return
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    named = ", ".join(sorted(found)[:NAMED])
    raise RevisionError(
        f"bench_source holds compiled files that git does not have: {named}{more}. Base would have none, and head's "
        "may be of older code. Say in the ini option bench_build how they are made, e.g. "
        f"`bench_build = {EXAMPLE}` or `bench_build = python setup.py build_ext --inplace`, and both sides are built; "
        "or remove the files if nothing imports them"
    )


def check_base(root: Path, worktree: Worktree, sources: Sequence[str], revision: str) -> None:
    """Refuse a source that base does not have, and one with a submodule. Raises
    ``RevisionError``.
    """
    inside = revisions.submodules(worktree.path, worktree.commit)
    prefix = root.resolve().relative_to(worktree.repository.resolve())
    for source in sources:
        place = str(prefix / source)
        for module in inside:
            if (place + "/").startswith(module + "/") or (module + "/").startswith(place + "/"):
                raise RevisionError(
                    f"bench_source: {source!r} touches the submodule {module!r}, which is empty in a worktree; run "
                    "the gate in the submodule's own repository"
                )
        if not (worktree.root / source).exists():
            raise RevisionError(
                f"--bench-against: {source!r} (ini bench_source) does not exist in {revision}"
            )
