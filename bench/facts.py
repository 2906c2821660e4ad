"""Deterministic facts of a model and its compilation: FLOPs, parameters, kernels, graphs. Compared exactly.

The one file that reads torch's private counters (``torch._dynamo``, ``torch._inductor``); known for torch 2.13.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from bench import precision

SDPA_KERNELS = {
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash",
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_efficient_attention": "efficient",
    "aten::_scaled_dot_product_cudnn_attention": "cudnn",
    "aten::_scaled_dot_product_attention_math": "math",
    "aten::_scaled_dot_product_fused_attention_overrideable": "overrideable",
}


def settings() -> dict[str, Any]:
    """The settings that change what is computed or how fast; every backend must leave them as they are."""
    return {
        "threads": torch.get_num_threads(),
        "flush_denormal": bool(torch.tensor(1e-310, dtype=torch.float64).mul(1.0).item() == 0.0),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "grad": torch.is_grad_enabled(),
    } | precision.found()


def parameters(module: torch.nn.Module) -> int:
    """How many numbers the weights hold; shared ones count once."""
    return sum(p.numel() for p in module.parameters())


def flops(run: Callable[[], Any]) -> int | None:
    """Floating point operations of one eager call: matrix products, convolutions and attention.

    Counted with the math kernel forced, because the CPU's flash operator has no formula and would count as
    none (``torch/utils/flop_counter.py``). None where that fails, e.g. on a kernel that is forced otherwise.
    """
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _Untracked()
    try:
        with sdpa_kernel(SDPBackend.MATH), counter:
            run()
    except Exception:  # a fact that cannot be had is left out, whatever the reason
        return None
    return int(counter.get_total_flops())


class _Untracked(nullcontext[None]):
    """Stands in for the counter's ``ModuleTracker``, whose hooks raise in ``autograd.grad`` of a module's inputs."""

    parents = frozenset({"Global"})  # what the operations are booked under


def traffic(module: torch.nn.Module, inputs: Iterable[Any], answer: Iterable[torch.Tensor]) -> int:
    """The least bytes that a call must move: inputs, parameters, buffers and what it answers, each tensor once.

    The answers of the modes that give gradients hold those, too.
    """
    leaves = [*inputs, *module.parameters(), *module.buffers(), *answer]
    different = {id(leaf): leaf for leaf in leaves if torch.is_tensor(leaf)}
    return sum(leaf.numel() * leaf.element_size() for leaf in different.values())


def sdpa_kernels(run: Callable[[], Any]) -> dict[str, int]:
    """Which attention kernels one call ran, and how often each: by profile, not by what was asked for."""
    with torch.autograd.profiler.profile() as profile:
        run()
    seen = Counter(event.name for event in profile.function_events)
    # math is the fallback inside the generic operator: the fused ones never call it
    return {kernel: seen[name] for name, kernel in SDPA_KERNELS.items() if seen[name]}


def operator_times(run: Callable[[], Any], device: str = "cpu", calls: int = 5) -> dict[str, float]:
    """Seconds a call by operator, its own time without what it calls; compiled kernels count as one another.

    On a GPU its own time there: that of the host is the launching.
    """
    kind = None if device == "cpu" else device
    with torch.autograd.profiler.profile(use_device=kind) as profile:
        for _ in range(calls):
            run()
    events = profile.key_averages()
    if kind is None:
        return {event.key: event.self_cpu_time_total / 1e6 / calls for event in events}
    # An operator holds the time of the kernels that it launched, which are events of the device besides.
    operators = [event for event in events if event.device_type is DeviceType.CPU]
    return {event.key: event.self_device_time_total / 1e6 / calls for event in operators}


class CompileCounters:
    """What dynamo and inductor did since this was made."""

    def __init__(self) -> None:
        from torch._dynamo.utils import clear_compilation_metrics, counters, get_compilation_metrics

        self._counters, self._metrics = counters, get_compilation_metrics
        counters.clear()
        clear_compilation_metrics()

    def facts(self) -> dict[str, Any]:
        """Graphs, graph breaks and skipped CUDA graphs with their reasons, cache hits and misses, fusions."""
        stats, inductor = self._counters["stats"], self._counters["inductor"]
        autograd = self._counters["aot_autograd"]
        breaks = {str(reason): int(n) for reason, n in self._counters["graph_break"].items()}
        return {
            "graphs": int(stats["unique_graphs"]),
            "graph_breaks": sum(breaks.values()),
            "graph_break_reasons": breaks,
            "captured_calls": int(stats["calls_captured"]),
            "fused_attention": int(inductor["fuse_attention"]),
            "cache_hits": int(inductor["fxgraph_cache_hit"]),
            "cache_misses": int(inductor["fxgraph_cache_miss"]),
            "cache_bypasses": int(inductor["fxgraph_cache_bypass"]),
            "autograd_cache_hits": int(autograd["autograd_cache_hit"]),
            "autograd_cache_misses": int(autograd["autograd_cache_miss"]),
            "cudagraph_skips": int(inductor["cudagraph_skips"]),
            "cudagraph_skip_reasons": sorted(
                {metrics.cudagraph_skip_reason for metrics in self._metrics() if metrics.cudagraph_skip_reason}
            ),
        }

    def cold(self) -> bool:
        """Whether anything had to be compiled that a cache would have held."""
        facts = self.facts()
        return bool(facts["cache_misses"])


class _Operators(TorchDispatchMode):
    """Notes every operator that runs, with the shapes and dtypes it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        leaves = result if isinstance(result, tuple | list) else [result]
        shapes = [(tuple(leaf.shape), str(leaf.dtype)) for leaf in leaves if torch.is_tensor(leaf)]
        self.digest.update(f"{func}{shapes}".encode())
        return result


def graph_hash(run: Callable[[], Any]) -> str | None:
    """A hash of the operators that one eager call runs: two cases with the same one are the same work."""
    try:
        with _Operators() as operators:
            run()
    except Exception:  # e.g. a higher-order operator that no mode can watch
        return None
    return operators.digest.hexdigest()[:12]
