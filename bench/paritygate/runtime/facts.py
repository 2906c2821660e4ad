"""Deterministic facts of a process and a model: settings, parameters, FLOPs, bytes, kernels,
operators. They are compared exactly.
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

from paritygate.runtime import precision

SDPA_KERNELS = {
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash",
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_efficient_attention": "efficient",
    "aten::_scaled_dot_product_cudnn_attention": "cudnn",
    "aten::_scaled_dot_product_attention_math": "math",
    "aten::_scaled_dot_product_fused_attention_overrideable": "overrideable",
}


def settings() -> dict[str, Any]:
    """Return the settings that change the results or their speed. Every backend must leave them
    unchanged.
    """
    return {
        "threads": torch.get_num_threads(),
        "flush_denormal": bool(torch.tensor(1e-310, dtype=torch.float64).mul(1.0).item() == 0.0),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "grad": torch.is_grad_enabled(),
    } | precision.read_policy()


def other_mode(module: torch.nn.Module, training: bool) -> dict[str, list[str]]:
    """Return the parts of a model that keep a mode of their own, whatever mode the model is put in.
    Parts inside such a part are left out.
    """
    names = list[str]()
    for name, part in module.named_modules():  # outer ones first
        if part.training != training and not any(name.startswith(f"{above}.") for above in names):
            names.append(name)
    if names[:1] == [""]:
        names = ["the whole model"]
    return {"in_eval" if training else "in_training": names} if names else {}


def parameters(module: torch.nn.Module) -> int:
    """Return how many numbers the weights hold. Shared weights count once."""
    return sum(p.numel() for p in module.parameters())


def flops(run: Callable[[], Any]) -> int | None:
    """Return the floating point operations of one eager call: matrix products, convolutions and
    attention.

    They are counted with the math kernel forced, because the CPU's flash operator has no formula
    and would count as none (``torch/utils/flop_counter.py``). None where that fails, e.g. for a
    model that forces another kernel.
    """
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _Untracked()
    try:
        with sdpa_kernel(SDPBackend.MATH), counter:
            run()
    except Exception:  # whatever the reason, the fact is left out
        return None
    return int(counter.get_total_flops())


class _Untracked(nullcontext[None]):
    """Replaces the counter's ``ModuleTracker``, whose hooks raise in ``autograd.grad`` of a
    module's inputs.
    """

    parents = frozenset({"Global"})  # the counter books all operations under this name


def min_bytes_moved(
    module: torch.nn.Module, inputs: Iterable[Any], answer: Iterable[torch.Tensor]
) -> int:
    """Return the least bytes that a call must move: inputs, parameters, buffers and answers, each
    tensor once.

    In the modes that compute gradients the answers contain them.
    """
    leaves = [*inputs, *module.parameters(), *module.buffers(), *answer]
    different = {id(leaf): leaf for leaf in leaves if torch.is_tensor(leaf)}
    return sum(leaf.numel() * leaf.element_size() for leaf in different.values())


def sdpa_kernels(run: Callable[[], Any]) -> dict[str, int]:
    """Return the attention kernels that one call ran, with the number of their calls. They come
    from a profile, not from the settings.
    """
    with torch.autograd.profiler.profile() as profile:
        run()
    seen = Counter(event.name for event in profile.function_events)
    # math is the fallback inside the generic operator: the fused ones never call it
    return {kernel: seen[name] for name, kernel in SDPA_KERNELS.items() if seen[name]}


def operator_times(run: Callable[[], Any], device: str = "cpu", calls: int = 5) -> dict[str, float]:
    """Return the seconds per call of each operator, without the operators that it calls. Each
    compiled kernel counts as an operator.

    On a GPU it is the operator's time there: its time on the host is only the launching.
    """
    kind = None if device == "cpu" else device
    with torch.autograd.profiler.profile(use_device=kind) as profile:
        for _ in range(calls):
            run()
    events = profile.key_averages()
    if kind is None:
        return {event.key: event.self_cpu_time_total / 1e6 / calls for event in events}
    # An operator includes the time of the kernels that it launched. These are events of the device,
    # too, and must not count twice.
    operators = [event for event in events if event.device_type is DeviceType.CPU]
    return {event.key: event.self_device_time_total / 1e6 / calls for event in operators}


class _Operators(TorchDispatchMode):
    """Hashes every operator that runs, with the shapes and dtypes of its results."""

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
    """Return a hash of the operators that one eager call runs. Two cases with the same hash do the
    same work.
    """
    try:
        with _Operators() as operators:
            run()
    except Exception:  # e.g. a higher-order operator that no dispatch mode supports
        return None
    return operators.digest.hexdigest()[:12]
