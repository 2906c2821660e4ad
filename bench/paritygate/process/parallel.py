"""Wait for several workers at the same time. The workers do the work; the threads here only wait
for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor


def together(
    calls: Iterable[Callable[[], object]], end: Callable[[], object], at_once: int = 2
) -> None:
    """Make the calls, ``at_once`` at a time. If one raises, or on Ctrl-C, call ``end``, which ends
    the work that the others wait for.
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
