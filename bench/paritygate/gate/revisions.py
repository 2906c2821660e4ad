"""The code of another revision, as a temporary git worktree."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from paritygate.host import paths
from paritygate.host.git import git


class RevisionError(Exception):
    """A revision cannot be checked out. The message says why and what to do."""


class Worktree:
    """A detached checkout of a revision below ``parent``. ``close`` removes it, also from git's
    list.
    """

    def __init__(self, root: Path, revision: str, parent: Path) -> None:
        self.repository = Path(
            _git(root, "rev-parse", "--show-toplevel", why="--bench-against needs a git repository")
        )
        self.commit = resolve(root, revision)
        self.head = resolve(root, "HEAD")
        parent.mkdir(parents=True, exist_ok=True)
        sweep(self.repository, parent)
        self.path = parent / paths.own_name()
        _git(
            self.repository,
            "worktree",
            "add",
            "--detach",
            "--force",
            str(self.path),
            self.commit,
            why=f"cannot check {revision} out",
        )
        self.root = self.path / root.resolve().relative_to(self.repository.resolve())

    def close(self) -> None:
        """Remove the checkout."""
        remove(self.repository, self.path)


def resolve(root: Path, revision: str) -> str:
    """Return the commit that a branch, tag or abbreviation names. Raises ``RevisionError``, with
    what to do, if there is none.
    """
    done = _run(
        root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    )
    if done.returncode == 0:
        return done.stdout.strip()
    if _run(root, "rev-parse", "--git-dir").returncode != 0:
        raise RevisionError(f"--bench-against needs a git repository; {root} is in none")
    if _run(root, "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        raise RevisionError(
            f"--bench-against: {revision!r} is not in this shallow clone; fetch it (`git fetch --unshallow`, or "
            "`fetch-depth: 0` in actions/checkout)"
        )
    raise RevisionError(
        f"--bench-against: {revision!r} is no branch, tag or commit here; is it fetched (`git fetch`)?"
    )


def trailers(root: Path, base: str, key: str) -> list[str]:
    """Return the values of a trailer in the commits from base to HEAD."""
    log = _run(
        root, "log", f"--format=%(trailers:key={key},valueonly,unfold)", f"{base}..HEAD"
    ).stdout
    return [line for line in log.splitlines() if line.strip()]


def submodules(root: Path, commit: str) -> list[str]:
    """Return the paths of a commit's submodules. In a worktree these folders are empty."""
    lines = _run(root, "ls-tree", "-r", "--full-tree", commit).stdout.splitlines()
    return [line.partition("\t")[2] for line in lines if line.startswith("160000 ")]


def changed(root: Path, commit: str = "HEAD") -> list[str]:
    """Return the files below ``root`` that differ between a commit and the working tree, with
    untracked ones, relative to it. A renamed file counts under both names.
    """
    tracked = _run(root, "diff", "--name-only", "-z", "--no-renames", "--relative", commit).stdout
    return _paths(tracked) + _paths(_run(root, "ls-files", "-z", "-o", "--exclude-standard").stdout)


def files(root: Path) -> list[str]:
    """Return the files that git has below ``root``, relative to it, with untracked ones that it
    does not ignore.
    """
    return _paths(_run(root, "ls-files", "-z", "-c", "-o", "--exclude-standard").stdout)


def untracked(root: Path, places: Sequence[str]) -> list[str]:
    """Return the files at these places below ``root`` that git does not have, ignored ones, too,
    relative to it.
    """
    literal = [f":(literal){place}" for place in places]
    return _paths(_run(root, "ls-files", "-z", "-o", "--", *literal).stdout)


def _paths(output: str) -> list[str]:
    return [path for path in output.split("\0") if path]


def sweep(repository: Path, parent: Path) -> None:
    """Remove the checkouts of runs that were killed."""
    for old in filter(paths.abandoned, list(parent.iterdir())):
        remove(repository, old)


def remove(repository: Path, path: Path) -> None:
    """Remove a checkout, even a damaged one."""
    _run(repository, "worktree", "remove", "--force", "--force", str(path))
    shutil.rmtree(path, ignore_errors=True)
    _run(repository, "worktree", "prune")


def _git(root: Path, *command: str, why: str) -> str:
    done = _run(root, *command)
    if done.returncode:
        raise RevisionError(f"{why}: {done.stderr.strip() or f'git {command[0]} failed'}")
    return done.stdout.strip()


def _run(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    try:
        return git(root, *command)
    except FileNotFoundError:
        raise RevisionError("--bench-against needs git, which is not installed") from None
