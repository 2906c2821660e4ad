"""Builds of trees by ``bench_build``, each made once and kept by a digest of all that it depends on.

``.paritygate/cache/builds/`` holds for every build a folder ``DIGEST`` with the files that the
command made or changed, and for every failed one its whole output in ``DIGEST.log``.

- The command runs in ``work/tree``, a copy of the files of one side. So it neither sees nor changes
  the user's tree, and equal code is compiled at equal paths, to equal files.
- A build is complete in ``work`` before one rename makes it believed.
- A lock keeps two runs from building at once. The second finds what the first has built.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from paritygate.gate import products
from paritygate.gate.build_command import BuildCommand, path_of
from paritygate.gate.compilers import tools
from paritygate.gate.products import Contents

FORMAT = 1
KEPT = 8  # builds, and as many outputs of failed ones
DEADLINE = 2 * 60 * 60.0  # seconds; large CUDA extensions take over an hour on few cores
SILENCE = 60.0  # seconds from one line about a build to the next
LAST_LINES = 15


class BuildError(Exception):
    """A build has failed. ``reason``: one line; ``details``: the end of the output, what to do."""

    def __init__(self, reason: str, details: str) -> None:
        super().__init__(f"{reason}\n{details}")
        self.reason, self.details = reason, details


@dataclass(frozen=True)
class Source:
    """The tree of one side: its files relative to ``root``, the interpreter that builds and imports
    it. ``name``: of the side, in messages.
    """

    name: str
    root: Path
    files: Sequence[str]
    python: str


class Builds:
    """The builds below ``folder`` by one command.

    ``project``: the folder in the repository in which it runs. ``sources``: the code under test,
    relative to it. ``tell``: prints a line. ``deadline``: seconds, after which a build is ended.
    """

    def __init__(
        self,
        folder: Path,
        command: BuildCommand,
        repository: Path,
        project: PurePosixPath,
        sources: Sequence[str],
        tell: Callable[[str], object] = str,
        deadline: float = DEADLINE,
    ) -> None:
        self.folder, self._command, self._repository = folder, command, repository
        self._project, self._sources = project, list(sources)
        self._tell, self._deadline = tell, deadline
        self._work = folder / "work"

    def add_to(self, source: Source) -> Contents:
        """Add to a tree the files that the command makes of it, and return them. Raises
        ``BuildError``, and ``OSError``.
        """
        environment = self._environment(source.python)
        before = products.contents(source.root, source.files)
        facts = tools(source.python, self._repository, environment)
        digest = self.digest(before, facts)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            found = self._kept(digest)
            if found is None:
                found = self._build(source, before, environment, digest)
            else:
                self._tell(f"gate: {source.name} was built before, by the same command and tools")
            kept = self.folder / digest
            os.utime(kept)
            products.copy(kept / "files", found, source.root)
            self._prune()
        return found

    def digest(self, files: Mapping[str, str], facts: Mapping[str, object]) -> str:
        """Return the digest of all that a build depends on."""
        depends = {
            "format": FORMAT,
            "files": dict(files),
            "command": self._command.words,
            "project": str(self._project),
            "sources": self._sources,
            "tools": dict(facts),
        }
        return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:32]

    def _kept(self, digest: str) -> Contents | None:
        """Return the files of a build that is kept, if there is one and it is whole."""
        folder = self.folder / digest
        try:
            listed: Contents = json.loads((folder / "files.json").read_text())
            if listed == products.contents(folder / "files", listed):
                return listed
        except (OSError, ValueError, TypeError):
            pass
        shutil.rmtree(folder, ignore_errors=True)
        return None

    def _build(
        self, source: Source, before: Contents, environment: Mapping[str, str], digest: str
    ) -> Contents:
        shutil.rmtree(self._work, ignore_errors=True)  # of a run that was killed
        tree, out, log = self._work / "tree", self._work / "wheels", self._work / "output.log"
        out.mkdir(parents=True)
        products.copy(source.root, before, tree)
        command = self._command.arguments(source.python, out)
        self._tell(f"gate: building {source.name} ({self._command.text})")
        started = time.monotonic()
        try:
            problem = self._run(source.name, command, tree / self._project, environment, log)
            places = products.roots(tree / self._project, self._sources)
            products.unpack(sorted(out.glob("*.whl")), places)
            found = products.made(tree, before)
            problem = problem or self._lacks(found, before)
            if problem:
                raise self._error(source.name, problem, log, digest)
            whole = self._work / "whole"
            products.copy(tree, found, whole / "files")
            log.replace(whole / log.name)
            (whole / "files.json").write_text(json.dumps(found, indent=0))
            whole.rename(self.folder / digest)
        finally:
            shutil.rmtree(self._work, ignore_errors=True)
        self._tell(f"gate: built {source.name} in {time.monotonic() - started:.0f} s")
        return found

    def _run(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
    ) -> str:
        """Run the command, at most until its deadline. Return why it failed, or ""."""
        folder.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            try:
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:  # a script that this tree does not have
                return f"could not be started: {error}"
        started = time.monotonic()
        try:
            while (waited := time.monotonic() - started) < self._deadline:
                with suppress(subprocess.TimeoutExpired):
                    status = process.wait(min(SILENCE, self._deadline - waited))
                    return f"ended with status {status}" if status else ""
                self._tell(
                    f"gate: still building {name}, {time.monotonic() - started:.0f} s so far"
                )
            return f"was ended after {self._deadline:.0f} s"
        finally:
            with suppress(ProcessLookupError):  # what it has started must not disturb measuring
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _lacks(self, found: Contents, before: Contents) -> str:
        """Return why a build is none, although its command was content; or ""."""
        if any(map(products.compiled, found)):
            return ""
        sources = [file for file in before if PurePosixPath(file).suffix in products.SOURCES]
        return f"left no compiled file, but there is {sources[0]}" if sources else ""

    def _error(self, name: str, problem: str, log: Path, digest: str) -> BuildError:
        """Return the error of a failed build. Its output is kept."""
        kept = self.folder / f"{digest}.log"
        output = log.read_text(errors="replace").strip().splitlines()
        log.replace(kept)
        last = f": {output[-1].strip()}" if output else ""
        advice = [
            f"The whole output is in {kept}.",
            "bench_build runs in a copy of the files that git has or does not ignore, without submodules. Extensions "
            "must be left beside their package (build_ext --inplace), or as wheels in {out}.",
        ]
        return BuildError(
            f"bench_build failed on {name}: `{self._command.text}` {problem}{last}",
            "\n".join([*output[-LAST_LINES:], *advice]),
        )

    def _environment(self, python: str) -> dict[str, str]:
        """Return the environment of a build. Its git finds no repository, its imports no other tree."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GIT_", "PYTEST_", "PARITYGATE_"))
        }
        tree, inside = self._work / "tree", self._repository
        path = [Path(entry).resolve() for entry in filter(None, self._path(kept))]
        moved = [
            tree / entry.relative_to(inside) if entry.is_relative_to(inside) else entry
            for entry in path
        ]
        kept |= {"PYTHONPATH": os.pathsep.join(map(str, moved))} if moved else {}
        versions = {"SETUPTOOLS_SCM_PRETEND_VERSION": "0", "SOURCE_DATE_EPOCH": "315532800"}
        return {
            **versions,  # the copy has no commits and no dates
            **kept,
            "GIT_CEILING_DIRECTORIES": str(self._work.resolve()),
            "PATH": path_of(python, kept),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
        }

    @staticmethod
    def _path(environment: Mapping[str, str]) -> list[str]:
        return environment.get("PYTHONPATH", "").split(os.pathsep)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock on the folder. The kernel releases it when the process ends."""
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._tell("gate: another run builds; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _prune(self) -> None:
        """Remove all but the newest builds, and outputs of failed ones."""
        whole = [path for path in self.folder.iterdir() if (path / "files.json").exists()]
        for some in (whole, list(self.folder.glob("*.log"))):
            some.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
            for old in some[KEPT:]:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
