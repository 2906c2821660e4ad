"""Map exceptions in a worker to the status of its cell, by one table."""

from __future__ import annotations

import re
import traceback

from paritygate.backends.contract import BackendError, UnavailableError
from paritygate.core import reasons
from paritygate.core.record import Status
from paritygate.host.lookup import HARNESS, of_user
from paritygate.runtime.declared import WrongDeclarationError

NO_MEMORY = (
    r"can't allocate memory|out of memory|std::bad_alloc|Failed to allocate memory|not enough memory"
    r"|CU(BLAS|DNN)_STATUS_ALLOC_FAILED"
)

# (names of exception classes anywhere in its ancestry, pattern of its message, status). The first
# match wins.
TABLE: tuple[tuple[tuple[str, ...], str, Status], ...] = (
    ((UnavailableError.__name__, "Unavailable", "KernelUnavailable"), "", Status.SKIPPED),
    ((BackendError.__name__,), "", Status.FAILED),
    (("MemoryError", "OutOfMemoryError"), "", Status.OUT_OF_MEMORY),
    (("Exception",), NO_MEMORY, Status.OUT_OF_MEMORY),
    (("RuntimeError",), r"triggered recompile|fail_on_recompile|Detected recompile", Status.FAILED),
)
PART = 1000  # characters of one entry of a trace: a long message must not displace the frames


def status_of(error: BaseException) -> tuple[Status, str]:
    """Return the status and the reason of an exception. The reason keeps all lines of its message,
    see ``paritygate.core.reasons``.
    """
    ancestry = {cls.__name__ for cls in type(error).__mro__}
    message = _message(error)
    for names, pattern, status in TABLE:
        if ancestry & set(names) and re.search(pattern, message):
            return status, _reason(error, message, pattern)
    return Status.FAILED, _reason(error, message, "")


def trace_of(error: BaseException) -> str:
    """Return the traceback of an exception as text without terminal codes. The innermost frames are
    never cut.

    It begins with the first frame of the user's own code: the frames of the harness before it do
    not help the user. A ``WrongDeclarationError`` has no trace, because its message says
    everything.
    """
    if isinstance(error, WrongDeclarationError):
        return ""
    trace = traceback.TracebackException.from_exception(error)
    _drop_leading(trace)
    parts = [reasons.clean(part) for part in trace.format()]
    text = "\n".join(reasons.cut(part, PART, PART // 2, PART // 2) for part in parts)
    return reasons.cut(text, head=reasons.TAIL, tail=reasons.HEAD)


def failure_of(error: BaseException) -> dict[str, str]:
    """Return an exception as plain data for a worker's answer: status, reason, trace."""
    status, reason = status_of(error)
    return {"status": str(status), "reason": reason, "trace": trace_of(error)}


def _drop_leading(trace: traceback.TracebackException) -> None:
    """Remove the frames before the user's first one, also in the causes. Without user frames,
    remove those of the harness.
    """
    frames = list(trace.stack)
    users = [place for place, frame in enumerate(frames) if of_user(frame.filename)]
    outside = [
        place for place, frame in enumerate(frames) if not frame.filename.startswith(HARNESS)
    ]
    first = next(iter(users or outside), 0)
    trace.stack = traceback.StackSummary.from_list(frames[first:])
    for before in (trace.__cause__, trace.__context__, *(trace.exceptions or ())):
        if before is not None:
            _drop_leading(before)


def _message(error: BaseException) -> str:
    """Return the message of an exception with its notes. For a group, add the messages of its
    exceptions.
    """
    try:
        message = str(error).strip() or repr(error)
    except Exception:  # its own __str__ fails: that must not end the worker
        message = "its message cannot be read"
    notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return "\n".join(
        [message, *notes, *(f"{type(one).__name__}: {_message(one)}" for one in inner)]
    )


def _reason(error: BaseException, message: str, pattern: str) -> str:
    if (
        isinstance(error, BackendError | UnavailableError | WrongDeclarationError)
        or type(error).__name__ == "KernelUnavailable"
    ):
        return reasons.whole(message)
    if "recompile" in pattern:
        return reasons.whole(f"recompile in the measured loop: {message}")
    return reasons.whole(f"{type(error).__name__}: {message}")
