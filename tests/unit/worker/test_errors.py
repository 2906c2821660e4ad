"""What an exception in a worker means for its cell."""

import pytest

from paritygate.backends import BackendError, UnavailableError
from paritygate.core.reasons import LIMIT
from paritygate.core.record import Status
from paritygate.worker.errors import failure_of, status_of, trace_of


class KernelUnavailable(RuntimeError):
    """As ``models.attention`` has it: known by its name."""


class OutOfMemoryError(RuntimeError):
    """As torch.cuda has it."""


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (UnavailableError("no such device"), Status.SKIPPED, "no such device"),
        (KernelUnavailable("flash needs fp16"), Status.SKIPPED, "flash needs fp16"),
        (
            BackendError("fallback: A was asked for, B runs"),
            Status.FAILED,
            "fallback: A was asked for, B runs",
        ),
        (MemoryError(), Status.OUT_OF_MEMORY, "MemoryError: MemoryError()"),
        (OutOfMemoryError("CUDA"), Status.OUT_OF_MEMORY, "OutOfMemoryError: CUDA"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"),
            Status.OUT_OF_MEMORY,
            "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried 8 bytes",
        ),
        (Exception("Failed to allocate memory for requested buffer"), Status.OUT_OF_MEMORY, None),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
            Status.OUT_OF_MEMORY,
            None,
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), Status.OUT_OF_MEMORY, None),
        (
            RuntimeError("Detected recompile when torch.compile stance is 'fail_on_recompile'"),
            Status.FAILED,
            "recompile in the measured loop: Detected recompile when torch.compile stance is 'fail_on_recompile'",
        ),
        (ValueError("first line\nsecond"), Status.FAILED, "ValueError: first line\nsecond"),
        (BackendError("fallback:\nA was asked for"), Status.FAILED, "fallback: A was asked for"),
        (
            UnavailableError("\x1b[31mno such device\x1b[0m\ninstall one"),
            Status.SKIPPED,
            "no such device\ninstall one",
        ),
        (
            RuntimeError("out of memory\ntried 8 bytes"),
            Status.OUT_OF_MEMORY,
            "RuntimeError: out of memory\ntried 8 bytes",
        ),
        (KeyError("gone"), Status.FAILED, "KeyError: 'gone'"),
        (ZeroDivisionError(), Status.FAILED, "ZeroDivisionError: ZeroDivisionError()"),
    ],
)
def test_an_exception_has_a_status_and_a_reason(error, status, reason):
    found, why = status_of(error)
    assert found is status
    assert reason is None or why == reason


def test_a_reason_is_cut_to_a_length_that_can_be_read_and_says_so():
    reason = status_of(ValueError("x" * 10_000))[1]
    assert len(reason) <= LIMIT
    assert "\n... 6,412 characters left out ...\n" in reason


class Wordless(Exception):
    def __str__(self):
        raise TypeError("no words")


def noted():
    error = ValueError("the first thing")
    error.add_note("what it really was")
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (noted(), "ValueError: the first thing\nwhat it really was"),
        (
            ExceptionGroup("two at once", [KeyError("gone"), noted()]),
            "ExceptionGroup: two at once (2 sub-exceptions)\nKeyError: 'gone'\nValueError: the first thing\n"
            "what it really was",
        ),
        (Wordless(), "Wordless: its message cannot be read"),
    ],
)
def test_notes_and_groups_are_told_and_no_message_can_end_the_worker(error, reason):
    assert status_of(error) == (Status.FAILED, reason)


def deep(levels, message):
    if levels:
        deep(levels - 1, message)
    raise ValueError(message)


@pytest.mark.parametrize(
    "message", ["\x1b[31mred\x1b[0m\n10%\r100%", "x" * 20_000, "line\n" * 5000]
)
def test_a_trace_has_its_frames_and_no_codes_however_long_the_message_is(message):
    with pytest.raises(ValueError) as raised:
        deep(3, message)
    failure = failure_of(raised.value)

    assert failure["trace"].startswith("Traceback (most recent call last):")
    assert failure["trace"].count("in deep") == 4
    assert "raise ValueError(message)" in failure["trace"]
    assert len(failure["trace"]) <= LIMIT
    assert "\x1b" not in str(failure.values())
    assert "\r" not in failure["trace"]
    assert (failure["status"], failure["reason"]) == ("failed", status_of(raised.value)[1])


def test_the_innermost_frame_of_a_deep_trace_is_kept():
    with pytest.raises(RecursionError) as raised:
        endless(0)
    trace = trace_of(raised.value)

    assert len(trace) <= LIMIT
    assert trace.rstrip().splitlines()[-1].startswith("RecursionError: ")


def endless(number):
    return endless(number + 1) + len([number])


def test_misbehaving_is_never_taken_for_a_lack_of_memory():
    assert status_of(BackendError("out of memory is what the message says"))[0] is Status.FAILED
