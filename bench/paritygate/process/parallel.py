"""Waits for several workers at once: what they do takes time of theirs, the threads here only
listen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor


def together(
    calls: Iterable[Callable[[], object]], end: Callable[[], object], at_once: int = 2
) -> None:
    """Make the calls, that many at a time. Where one raises, or Ctrl-C comes, ``end`` ends what the
    others wait for.
    """
    pool = ThreadPoolExecutor(at_once)
    try:
        for future in [pool.submit(call) for call in calls]:
            future.result()
    except BaseException:
        end()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
