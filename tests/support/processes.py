"""What tests ask about processes."""

import time

import psutil


def gone(pid, seconds=10.0):
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
