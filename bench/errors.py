"""What an exception in a worker means for its cell: one table from foreign errors to our few words."""

from __future__ import annotations

import re

from bench.backends import Misbehaved, Unavailable
from bench.record import Status

NO_MEMORY = (
    r"can't allocate memory|out of memory|std::bad_alloc|Failed to allocate memory|not enough memory"
    r"|CU(BLAS|DNN)_STATUS_ALLOC_FAILED"
)

# First match wins: (names of exception classes anywhere in its ancestry, pattern of its message, status).
TABLE: tuple[tuple[tuple[str, ...], str, Status], ...] = (
    ((Unavailable.__name__, "KernelUnavailable"), "", Status.SKIPPED),
    ((Misbehaved.__name__,), "", Status.FAILED),
    (("MemoryError", "OutOfMemoryError"), "", Status.OUT_OF_MEMORY),
    (("Exception",), NO_MEMORY, Status.OUT_OF_MEMORY),
    (("RuntimeError",), r"triggered recompile|fail_on_recompile|Detected recompile", Status.FAILED),
)


def status_of(error: BaseException) -> tuple[Status, str]:
    """The status and the one-line reason of an exception."""
    ancestry = {cls.__name__ for cls in type(error).__mro__}
    message = str(error).strip() or repr(error)
    for names, pattern, status in TABLE:
        if ancestry & set(names) and re.search(pattern, message):
            return status, _reason(error, message, pattern)
    return Status.FAILED, _reason(error, message, "")


def _reason(error: BaseException, message: str, pattern: str) -> str:
    first = message.splitlines()[0][:400]
    if isinstance(error, Misbehaved | Unavailable) or type(error).__name__ == "KernelUnavailable":
        return first
    if "recompile" in pattern:
        return f"recompile in the measured loop: {first}"
    return f"{type(error).__name__}: {first}"
