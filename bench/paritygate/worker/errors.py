"""What an exception in a worker means for its cell: one table from foreign errors to our few
words.
"""

from __future__ import annotations

import re
import traceback

from paritygate.backends.contract import BackendError, UnavailableError
from paritygate.core import reasons
from paritygate.core.record import Status

NO_MEMORY = (
    r"can't allocate memory|out of memory|std::bad_alloc|Failed to allocate memory|not enough memory"
    r"|CU(BLAS|DNN)_STATUS_ALLOC_FAILED"
)

# First match wins: (names of exception classes anywhere in its ancestry, pattern of its message,
# status).
TABLE: tuple[tuple[tuple[str, ...], str, Status], ...] = (
    ((UnavailableError.__name__, "Unavailable", "KernelUnavailable"), "", Status.SKIPPED),
    ((BackendError.__name__,), "", Status.FAILED),
    (("MemoryError", "OutOfMemoryError"), "", Status.OUT_OF_MEMORY),
    (("Exception",), NO_MEMORY, Status.OUT_OF_MEMORY),
    (("RuntimeError",), r"triggered recompile|fail_on_recompile|Detected recompile", Status.FAILED),
)
PART = 1000  # characters of one entry of a trace: a long message must not push the frames out


def status_of(error: BaseException) -> tuple[Status, str]:
    """Return the status and the reason of an exception: all lines of its message, see
    ``paritygate.core.reasons``.
    """
    ancestry = {cls.__name__ for cls in type(error).__mro__}
    message = _message(error)
    for names, pattern, status in TABLE:
        if ancestry & set(names) and re.search(pattern, message):
            return status, _reason(error, message, pattern)
    return Status.FAILED, _reason(error, message, "")


def trace_of(error: BaseException) -> str:
    """Return the traceback of an exception as text without terminal codes; the innermost frames are
    never cut.
    """
    parts = [reasons.clean(part) for part in traceback.format_exception(error)]
    text = "\n".join(reasons.cut(part, PART, PART // 2, PART // 2) for part in parts)
    return reasons.cut(text, head=reasons.TAIL, tail=reasons.HEAD)


def failure_of(error: BaseException) -> dict[str, str]:
    """Return an exception as the plain data that a worker answers with: status, reason, trace."""
    status, reason = status_of(error)
    return {"status": str(status), "reason": reason, "trace": trace_of(error)}


def _message(error: BaseException) -> str:
    """Return what an exception says, with its notes, and of a group with what each of its
    exceptions says.
    """
    try:
        said = str(error).strip() or repr(error)
    except Exception:  # its own __str__ fails: that must not end the worker
        said = "its message cannot be read"
    notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return "\n".join([said, *notes, *(f"{type(one).__name__}: {_message(one)}" for one in inner)])


def _reason(error: BaseException, message: str, pattern: str) -> str:
    if (
        isinstance(error, BackendError | UnavailableError)
        or type(error).__name__ == "KernelUnavailable"
    ):
        return reasons.whole(message)
    if "recompile" in pattern:
        return reasons.whole(f"recompile in the measured loop: {message}")
    return reasons.whole(f"{type(error).__name__}: {message}")
