"""The files of a tree and of a build: copied, compared by content, taken out of wheels."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

COMPILED = {".so", ".pyd", ".dylib"}
# files that a compiler makes such ones of
SOURCES = {".c", ".cc", ".cpp", ".cxx", ".cu", ".hip", ".pyx", ".rs", ".f90"}
STEPS = {".o", ".obj", ".pyc"}  # on the way to them
AWAY = {"__pycache__", ".git", ".eggs"}
AWAY_BEGINS = ("build/lib", "build/temp", "build/bdist")  # where setuptools works

Contents = dict[str, str]  # path -> what says its content


def compiled(name: str) -> bool:
    """Return whether a file is a compiled library, judging by its name."""
    return PurePosixPath(name).suffix in COMPILED or ".so." in PurePosixPath(name).name


def content(path: Path) -> str:
    """Return what says the content of a file or link, and whether it is a program; "" if there is
    neither.
    """
    if path.is_symlink():
        return f"link {os.readlink(path)}"
    if not path.is_file():  # none, or the folder of a submodule
        return ""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{'program' if path.stat().st_mode & stat.S_IXUSR else 'file'} {digest}"


def contents(root: Path, files: Iterable[str]) -> Contents:
    """Return the content of those of the files that exist."""
    return {file: said for file in sorted(set(files)) if (said := content(root / file))}


def copy(source: Path, files: Iterable[str], target: Path) -> None:
    """Copy those of the files that exist, links as links, in place of what is there."""
    for file in files:
        path, copied = source / file, target / file
        if path.is_symlink() or path.is_file():
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.unlink(missing_ok=True)
            shutil.copy2(path, copied, follow_symlinks=False)


def made(tree: Path, before: Mapping[str, str]) -> Contents:
    """Return the files that a build has made or changed in a tree, without those of its steps.

    ``before``: the contents of the tree at first.
    """
    now = contents(tree, _below(tree))
    return {file: said for file, said in now.items() if before.get(file) != said}


def _below(tree: Path) -> Iterator[str]:
    for folder, below, names in os.walk(tree):
        place = PurePosixPath(Path(folder).relative_to(tree))
        below[:] = [name for name in below if not _away(place / name)]
        linked = [name for name in below if Path(folder, name).is_symlink()]
        yield from (
            str(place / name)
            for name in (*names, *linked)
            if PurePosixPath(name).suffix not in STEPS
        )


def _away(place: PurePosixPath) -> bool:
    inside = str(PurePosixPath(*place.parts[-2:]))
    return place.name in AWAY or place.suffix == ".egg-info" or inside.startswith(AWAY_BEGINS)


def roots(project: Path, sources: Sequence[str]) -> list[Path]:
    """Return the folders from which the sources' packages are imported."""
    found = []
    for source in sources:
        path = project / source
        if path.is_dir() and not (path / "__init__.py").exists():
            found.append(path)  # a root of packages, or a package without a file of its own
        folder = path.parent
        while (folder / "__init__.py").exists() and folder != project:
            folder = folder.parent
        found.append(folder)
    return list(dict.fromkeys([*found, project]))


def unpack(wheels: Sequence[Path], places: Sequence[Path]) -> None:
    """Take from wheels the compiled files, and the files that are not at their place yet.

    ``places``: the roots of packages. A package lands in the one that has it, all else beside it. If
    there are several wheels, those without a package of ours are left out: dependencies.
    """
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            entries = {entry: path for entry in archive.infolist() if (path := _place(entry))}
            tops = dict.fromkeys(path.parts[0] for path in entries.values())
            homes = {top: place for top in tops for place in places[::-1] if (place / top).is_dir()}
            if not homes and len(wheels) > 1:
                continue
            beside = next(iter(homes.values()), places[0])
            for entry, path in entries.items():
                target = homes.get(path.parts[0], beside) / path
                if compiled(path.name) or not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.unlink(missing_ok=True)
                    target.write_bytes(archive.read(entry))
                    target.chmod(0o755 if entry.external_attr >> 16 & stat.S_IXUSR else 0o644)


def _place(entry: zipfile.ZipInfo) -> PurePosixPath | None:
    """Return where an entry of a wheel is installed below a root of packages; None if it is not."""
    path = PurePosixPath(entry.filename)
    if entry.is_dir() or path.is_absolute() or ".." in path.parts:
        return None
    first, *rest = path.parts
    if first.endswith(".data"):
        return PurePosixPath(*rest[1:]) if rest[:1] in (["purelib"], ["platlib"]) else None
    return None if first.endswith(".dist-info") else path
