"""An NVIDIA GPU as a device: work is queued on a stream, and its own clock is a pair of events on
that stream.

The device is the first that CUDA shows, as chosen by ``CUDA_VISIBLE_DEVICES``. Its settings are
never changed.
"""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paritygate.host import nvml

# bytes; larger than any L2 so far (50 MiB on H100 and H200), as in triton.testing.do_bench
FLUSHED = 256 << 20


class Cuda:
    """A GPU. ``api`` is ``torch.cuda``; tests use another.

    Its memory is the memory in use that the driver reports, since only the driver counts both
    torch's allocator and the arenas of other engines. The peak of torch's allocator is recorded as
    a fact.
    """

    name = "cuda"
    clock = staticmethod(time.perf_counter)

    def __init__(self, api: Any = None) -> None:
        import torch

        self._torch, self._api = torch, torch.cuda if api is None else api
        self._api.init()  # so that the context does not count as a cell's memory
        # Not the default stream: it waits for all others, and onnxruntime reads its pointer, 0, as
        # "no stream".
        self._stream = self._api.Stream()
        self.stream: int | None = self._stream.cuda_stream
        self._used: int | None = None
        self._scrap: Any = None
        # cache of ``_card``: NVML's card or None, empty before the first call
        self._known: list[nvml.Gpu | None] = []

    def guard(self) -> AbstractContextManager[Any]:
        """Return a context in which our stream is the current one."""
        context: AbstractContextManager[Any] = self._api.stream(self._stream)
        return context

    def synchronize(self) -> None:
        """Wait for the whole device: engines may have streams of their own."""
        self._api.synchronize()

    def mark(self) -> Any:
        """Return an event on our stream."""
        event = self._api.Event(enable_timing=True)
        event.record(self._stream)
        return event

    def elapsed(self, start: Any, end: Any) -> float:
        """Return the seconds between two events. The resolution is half a microsecond (CUDA's
        documentation).
        """
        milliseconds: float = start.elapsed_time(end)
        return milliseconds / 1e3

    def flush(self) -> bool:
        """Zero a buffer larger than L2, on our stream."""
        if self._scrap is None:
            self._scrap = self._torch.empty(FLUSHED, dtype=self._torch.int8, device=self._buffers)
        self._scrap.zero_()
        return True

    _buffers = "cuda"  # device of the buffer; tests without a GPU change it

    def reset_peak(self) -> None:
        """Start from the memory that the driver reports as used now."""
        self._api.synchronize()
        self._api.empty_cache()
        self._api.reset_peak_memory_stats()
        self._used = self._driver_bytes()

    def peak_bytes(self) -> int | None:
        """Return the memory used above ``reset_peak``. Allocators and arenas keep what they took,
        so it is their peak.
        """
        if self._used is None:
            return None
        return max(0, self._driver_bytes() - self._used)

    def held_bytes(self) -> int | None:
        """Return the memory of torch's tensors. It is exact to the byte, unlike the driver's
        number.
        """
        held: int = self._api.memory_allocated()
        return held

    def empty_cache(self) -> None:
        """Return torch's unused blocks to the driver."""
        self._scrap = None
        self._api.empty_cache()

    def joules(self) -> float | None:
        """Return the card's energy counter since its driver was loaded; None under MIG, where
        neighbours share it.
        """
        from paritygate.host import nvml

        card = self._card()
        with suppress(nvml.GpuLostError):  # the next call reports it
            return None if card is None else card.read().joules
        return None

    def clock_state(self) -> dict[str, Any]:
        """Return ``mhz``, the clock of its processors, and ``throttled``, the reasons that lower
        it. Makes two NVML calls.
        """
        from paritygate.host import nvml

        card = self._card()
        with suppress(nvml.GpuLostError):  # the next call reports it
            return (
                {}
                if card is None
                else {"mhz": card.clock(), "throttled": list(card.throttled() or ())}
            )
        return {}

    def _card(self) -> nvml.Gpu | None:
        from paritygate.host import nvml

        if not self._known:
            try:
                self._known.append(nvml.gpu_of_process(os.environ, self._uuid()))
            except LookupError:
                self._known.append(None)
        return self._known[0]

    def facts(self) -> dict[str, Any]:
        """Return model, UUID, capability, versions, memory, and the peak of torch's allocator."""
        properties = self._api.get_device_properties(0)
        return {
            "gpu": properties.name,
            "gpu_uuid": self._uuid(),
            "gpu_capability": f"{properties.major}.{properties.minor}",
            "gpu_memory_bytes": properties.total_memory,
            "gpu_processors": properties.multi_processor_count,
            "cuda": self._torch.version.cuda,
            "cudnn": self._torch.backends.cudnn.version(),
            "torch_peak_bytes": self._api.max_memory_allocated(),
        }

    def _uuid(self) -> str:
        return str(self._api.get_device_properties(0).uuid)

    def _driver_bytes(self) -> int:
        free, total = self._api.mem_get_info()
        return int(total - free)
