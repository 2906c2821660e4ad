"""A unit test starts no process: one that does fails, by Python's own audit of calls."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"}
watching = False


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Raise where a process would be started; an audit hook cannot be taken out again."""
    if watching and event in STARTS:
        raise AssertionError(
            f"a unit test started a process ({event}: {arguments[0] if arguments else ''!r}); "
            "a test that needs one belongs into tests/worker or tests/e2e"
        )


sys.addaudithook(refuse)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Watch a unit test with all of its fixtures, those of the session as well; pytest calls this
    for tests of every folder.
    """
    global watching
    watching = item.path.is_relative_to(Path(__file__).parent)
    try:
        return (yield)
    finally:
        watching = False
