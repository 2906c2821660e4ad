"""The machine-wide lock around timing: two sessions that measure at once (IDE and terminal) disturb
each other.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATH = Path(tempfile.gettempdir()) / "paritygate-timing.lock"
AGAIN = 60.0  # seconds from one line about waiting to the next


@contextmanager
def timing_lock(on_wait: Callable[[str], object], path: Path = PATH) -> Iterator[float]:
    """Hold the lock; the value is the number of seconds that it was waited for.

    Waits without a limit, and calls ``on_wait`` with the name of the holder, again every minute.
    The kernel releases the lock when the process ends.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        os.fchmod(descriptor, 0o666)  # whatever the umask: the next run may be another user's
    try:
        started = time.monotonic()
        announced = 0
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - started >= announced * AGAIN:
                    holder = (
                        os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                    )
                    since = f", for {announced * AGAIN:.0f} s so far" if announced else ""
                    on_wait(
                        f"another run measures on this machine (pid {holder}); waiting for it{since}"
                    )
                    announced += 1
                time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield time.monotonic() - started if announced else 0.0
    finally:
        os.close(descriptor)  # releases it
