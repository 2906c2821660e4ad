"""What an exception in a worker means for its cell: one table from foreign errors to our few
words.
"""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path

from paritygate.backends.contract import BackendError, UnavailableError
from paritygate.core import reasons
from paritygate.core.record import Status
from paritygate.host.lookup import INSTALLED
from paritygate.runtime.declared import HARNESS, WrongDeclarationError

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
STANDARD = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
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

    It begins with the first frame of the user's own code: how the harness came there says nothing
    to them. A ``WrongDeclarationError`` says all in its message.
    """
    if isinstance(error, WrongDeclarationError):
        return ""
    told = traceback.TracebackException.from_exception(error)
    _drop_leading(told)
    parts = [reasons.clean(part) for part in told.format()]
    text = "\n".join(reasons.cut(part, PART, PART // 2, PART // 2) for part in parts)
    return reasons.cut(text, head=reasons.TAIL, tail=reasons.HEAD)


def failure_of(error: BaseException) -> dict[str, str]:
    """Return an exception as the plain data that a worker answers with: status, reason, trace."""
    status, reason = status_of(error)
    return {"status": str(status), "reason": reason, "trace": trace_of(error)}


def _drop_leading(told: traceback.TracebackException) -> None:
    """Remove the frames before the first one of the user's, of the causes as well; where there is
    none, those of the harness.
    """
    frames = list(told.stack)
    of_user = [place for place, frame in enumerate(frames) if _of_user(frame)]
    outside = [place for place, frame in enumerate(frames) if not _of_harness(frame)]
    first = next(iter(of_user or outside), 0)
    told.stack = traceback.StackSummary.from_list(frames[first:])
    for before in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if before is not None:
            _drop_leading(before)


def _of_harness(frame: traceback.FrameSummary) -> bool:
    return Path(frame.filename).is_relative_to(HARNESS)


def _of_user(frame: traceback.FrameSummary) -> bool:
    """Whether a frame is of a file that is neither the harness's, nor Python's, nor installed."""
    path = Path(frame.filename)
    return (
        path.is_absolute()
        and not _of_harness(frame)
        and INSTALLED.isdisjoint(path.parts)
        and not any(path.is_relative_to(place) for place in STANDARD)
    )


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
        isinstance(error, BackendError | UnavailableError | WrongDeclarationError)
        or type(error).__name__ == "KernelUnavailable"
    ):
        return reasons.whole(message)
    if "recompile" in pattern:
        return reasons.whole(f"recompile in the measured loop: {message}")
    return reasons.whole(f"{type(error).__name__}: {message}")
