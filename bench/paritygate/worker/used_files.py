"""The files of a project that a measuring process uses: what it opens, which folders it lists, and
which modules it asks for.

An audit hook notes them (PEP 578), so code that is imported late, by path or by ``exec`` is noted,
too, and so is data that Python opens. A process forked by a worker adds to the worker's notes. If
it starts another Python, only the start is noted. Not noted are the files that a program in another
language opens by itself, and those that ``exists()`` asks for.

``paritygate.gate.closure`` reads the notes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

# the files that look for installed packages
PACKAGES = ("/importlib/metadata/", "/importlib_metadata/", "/pkg_resources/")
SPAWNS = {"multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver"}
COMPILER = "/torch/_inductor/"  # starts Pythons that compile or try the processor, no user's code
_roots: tuple[str, ...] = ()
_noted: dict[tuple[str, str], None] = {}
_file = -1  # the notes of this worker


def watch(roots: Sequence[str]) -> None:
    """Note what this process and its forks use of these folders, from now on."""
    global _roots
    _roots = tuple(root.rstrip(os.sep) + os.sep for root in roots)
    if _roots:
        sys.addaudithook(_hear)


def write_to(path: str) -> None:
    """Write the notes so far to a file, one JSON list [kind, name] a line, and all later ones."""
    global _file
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    for kind, name in _noted:
        _write(kind, name)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    try:
        if event == "open":
            _opened(arguments[0], arguments[2])
        elif event == "import":
            _asked_for(arguments[0])
        elif event in ("os.listdir", "os.scandir") and not _importing(sys._getframe(1)):
            _note("folder", arguments[0] or ".")
        elif event == "subprocess.Popen" and COMPILER not in _starter(sys._getframe(1)):
            _started(*arguments[:2])
    except (TypeError, ValueError):  # a path of a kind that Python itself will refuse
        pass
    except OSError:  # the disk is full: the user's code goes on, and empty notes are not believed
        _give_up()


def _importing(caller: FrameType) -> bool:
    """Return whether Python itself asks, which lists every folder of the path to find modules and
    installed packages.
    """
    file = caller.f_code.co_filename
    return file.startswith("<frozen importlib") or any(part in file for part in PACKAGES)


def _opened(path: Any, flags: Any) -> None:
    writes = isinstance(flags, int) and (flags & os.O_ACCMODE) == os.O_WRONLY
    if isinstance(path, int) or writes:
        return
    name = os.fsdecode(path)
    if name.endswith(".pyc") and "__pycache__" in name:
        name = importlib.util.source_from_cache(name)
    _note("file", name)


def _starter(frame: FrameType | None) -> str:
    """Return the file of the code that starts a process through ``subprocess``."""
    while frame is not None and frame.f_globals.get("__name__") == "subprocess":
        frame = frame.f_back
    return "" if frame is None else frame.f_code.co_filename


def _started(program: Any, arguments: Any) -> None:
    words = [arguments] if isinstance(arguments, str) else [program, *arguments]
    if any("python" in os.fsdecode(word) for word in words if word is not None):
        _add("process", "python")


def _asked_for(name: str) -> None:
    """Note a module, unless its top-level package is imported already, from no project."""
    if name in SPAWNS:
        _add("process", "python")
    top = name.partition(".")[0]
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    if top not in sys.stdlib_module_names and not (file and not file.startswith(_roots)):
        _add("module", name)


def _note(kind: str, path: Any) -> None:
    name = os.path.abspath(os.fsdecode(path))
    if (name + os.sep).startswith(_roots):
        _add(kind, name)


def _add(kind: str, name: str) -> None:
    if (kind, name) not in _noted:
        _noted[kind, name] = None
        if _file >= 0:
            _write(kind, name)


def _give_up() -> None:
    global _file
    with suppress(OSError):
        os.ftruncate(_file, 0)
    _file = -1


def _write(kind: str, name: str) -> None:
    os.write(_file, json.dumps([kind, name]).encode() + b"\n")
