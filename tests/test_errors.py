"""What an exception in a worker means for its cell."""

import pytest

from bench.backends import Misbehaved, Unavailable
from bench.errors import status_of
from bench.record import Status


class KernelUnavailable(RuntimeError):
    """As ``models.attention`` has it: known by its name."""


class OutOfMemoryError(RuntimeError):
    """As torch.cuda has it."""


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Unavailable("no such device"), Status.SKIPPED, "no such device"),
        (KernelUnavailable("flash needs fp16"), Status.SKIPPED, "flash needs fp16"),
        (Misbehaved("fallback: A was asked for, B runs"), Status.FAILED, "fallback: A was asked for, B runs"),
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
        (ValueError("first line\nsecond"), Status.FAILED, "ValueError: first line"),
        (KeyError("gone"), Status.FAILED, "KeyError: 'gone'"),
        (ZeroDivisionError(), Status.FAILED, "ZeroDivisionError: ZeroDivisionError()"),
    ],
)
def test_an_exception_has_a_status_and_a_reason_of_one_line(error, status, reason):
    found, why = status_of(error)
    assert found is status
    assert reason is None or why == reason
    assert "\n" not in why


def test_a_reason_is_cut_to_a_length_that_can_be_read():
    assert len(status_of(ValueError("x" * 10_000))[1]) < 500


def test_misbehaving_is_never_taken_for_a_lack_of_memory():
    assert status_of(Misbehaved("out of memory is what the message says"))[0] is Status.FAILED
