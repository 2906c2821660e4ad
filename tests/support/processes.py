"""What tests ask about processes."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

from tests.support.paths import ROOT


def gone(pid: int, seconds: float = 60.0) -> bool:
    """Whether a process ends within that time; one that nobody has reaped counts as ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def orphans(program: str) -> list[psutil.Process]:
    """Run Python until it prints "ready", and kill it. Return the processes that it had started."""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        line = owner.stdout.readline()
        started = psutil.Process(owner.pid).children(recursive=True)
        owner.kill()
    assert line == "ready\n"
    return started
