"""An NVIDIA GPU as a device: work is queued on a stream, and its own clock is a pair of events on
that stream.

``CUDA_VISIBLE_DEVICES`` has chosen: the device is the first that CUDA shows. Nothing here changes a
setting of it.
"""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paritygate.host import nvml

# bytes; over any L2 so far (50 MiB on H100 and H200), and what triton.testing.do_bench takes
FLUSHED = 256 << 20


class Cuda:
    """A GPU. ``api`` is ``torch.cuda`` unless a test gives another.

    Memory is what the driver says is used on the device, since that alone sees torch's allocator
    and the arenas of other engines alike; what torch's allocator had at most is a fact beside it.
    """

    name = "cuda"
    clock = staticmethod(time.perf_counter)

    def __init__(self, api: Any = None) -> None:
        import torch

        self._torch, self._api = torch, torch.cuda if api is None else api
        self._api.init()  # the context is no cell's memory
        # Not the default stream: that waits for all others, and onnxruntime takes its pointer, 0,
        # for none.
        self._stream = self._api.Stream()
        self.stream: int | None = self._stream.cuda_stream
        self._used: int | None = None
        self._scrap: Any = None
        # the card as NVML knows it, or None, once that was asked
        self._known: list[nvml.Gpu | None] = []

    def guard(self) -> AbstractContextManager[Any]:
        """Makes our stream the current one."""
        context: AbstractContextManager[Any] = self._api.stream(self._stream)
        return context

    def synchronize(self) -> None:
        """Waits for the whole device: engines may have streams of their own."""
        self._api.synchronize()

    def mark(self) -> Any:
        """An event on our stream."""
        event = self._api.Event(enable_timing=True)
        event.record(self._stream)
        return event

    def elapsed(self, start: Any, end: Any) -> float:
        """Seconds between two events; half a microsecond is the resolution (CUDA's
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

    _buffers = "cuda"  # where the buffer lies; tests have no such device

    def reset_peak(self) -> None:
        """Begin with what the driver says is used now."""
        self._api.synchronize()
        self._api.empty_cache()
        self._api.reset_peak_memory_stats()
        self._used = self._driver_bytes()

    def peak_bytes(self) -> int | None:
        """What is used above ``reset_peak``: allocators and arenas keep what they took, so it is
        their peak.
        """
        if self._used is None:
            return None
        return max(0, self._driver_bytes() - self._used)

    def held_bytes(self) -> int | None:
        """What torch's tensors hold; to the byte, unlike what the driver says."""
        held: int = self._api.memory_allocated()
        return held

    def empty_cache(self) -> None:
        """Give torch's unused blocks back to the driver."""
        self._scrap = None
        self._api.empty_cache()

    def joules(self) -> float | None:
        """The counter of the card since its driver was loaded; None under MIG, where neighbours
        share it.
        """
        from paritygate.host import nvml

        card = self._card()
        with suppress(nvml.GpuLostError):  # the next call tells
            return None if card is None else card.read().joules
        return None

    def gauge(self) -> dict[str, Any]:
        """``mhz``, the clock of its processors, and ``throttled``, what holds it down: two
        questions to NVML.
        """
        from paritygate.host import nvml

        card = self._card()
        with suppress(nvml.GpuLostError):  # the next call tells
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
                self._known.append(nvml.of_process(os.environ, self._uuid()))
            except LookupError:
                self._known.append(None)
        return self._known[0]

    def facts(self) -> dict[str, Any]:
        """Model, UUID, capability, versions, memory, and the most that torch's allocator held."""
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
