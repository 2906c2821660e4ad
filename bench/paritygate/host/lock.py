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


@contextmanager
def timing_lock(on_wait: Callable[[str], object], path: Path = PATH) -> Iterator[None]:
    """Hold the lock. Wait for it without a limit; call ``on_wait`` once with the name of the
    holder.

    The kernel releases the lock when the process ends.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        os.fchmod(descriptor, 0o666)  # whatever the umask: the next run may be another user's
    try:
        announced = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not announced:
                    holder = (
                        os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                    )
                    on_wait(f"another run measures on this machine (pid {holder}); waiting for it")
                    announced = True
                time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)  # releases it
