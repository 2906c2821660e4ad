"""Binding: ONNX Runtime on tensors of its own device, instead of numpy arrays that it copies.

Inputs are torch's tensors, and outputs are tensors that torch has allocated. So nothing is copied,
and both work on one stream. With a CUDA graph all addresses are fixed, so one binding serves every
input set and inputs are copied into it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

# onnx.TensorProto.DataType
DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
ELEMENTS = {dtype: number for number, dtype in DTYPES.items()}
CAPTURED = 4  # after so many runs a CUDA graph is certainly replayed
# torch.export's names of sizes that depend on values, not on other sizes
OF_DATA = re.compile(r"\bu\d+\b")


@dataclass
class Bound:
    """One input set and its outputs, bound. Every run overwrites ``outputs``."""

    binding: Any
    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]


class Binder:
    """Binds input sets to a session and runs them."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._names = [value.name for value in session.get_inputs()]
        self._answers = [value.name for value in session.get_outputs()]
        self._by_data = any(
            OF_DATA.search(str(size)) for value in session.get_outputs() for size in value.shape
        )
        # The worker waits for the device itself; without this option every run would wait, too.
        self._options = _options(disable_synchronize_execution_providers="1")
        # A session with CUDA graphs captures one in its first run. Runs with this option do not
        # count.
        self._uncaptured = _options(disable_synchronize_execution_providers="1", gpu_graph_id="-1")
        self._known: dict[tuple[torch.Size, ...], list[tuple[list[int], torch.dtype]]] = {}

    def bind(self, tensors: Sequence[torch.Tensor]) -> Bound:
        """Return a bound set of inputs, given in the order of the session's, with outputs of its
        own.
        """
        inputs = [tensor.detach().contiguous() for tensor in tensors]
        device = inputs[0].device
        binding = self._session.io_binding()
        for name, tensor in zip(self._names, inputs, strict=True):
            binding.bind_input(name, *_place(tensor))
        outputs = [
            torch.empty(shape, dtype=dtype, device=device)
            for shape, dtype in self._shapes(binding, inputs)
        ]
        for name, tensor in zip(self._answers, outputs, strict=True):
            binding.bind_output(name, *_place(tensor))
        return Bound(binding, inputs, outputs)

    def _shapes(
        self, binding: Any, inputs: list[torch.Tensor]
    ) -> list[tuple[list[int], torch.dtype]]:
        """Return shape and dtype of the outputs. They come from a run that allocates its outputs,
        one for all inputs of the same shapes.
        """
        key = tuple(tensor.shape for tensor in inputs)
        if self._by_data or key not in self._known:
            for name in self._answers:
                binding.bind_output(name, inputs[0].device.type, inputs[0].device.index or 0)
            self._session.run_with_iobinding(binding, self._uncaptured)
            self._known[key] = [
                (value.shape(), DTYPES[value.element_type()]) for value in binding.get_outputs()
            ]
            binding.clear_binding_outputs()
        return self._known[key]

    def __call__(self, bound: Bound) -> list[torch.Tensor]:
        """Run, and return the outputs. The next run overwrites their memory."""
        self._session.run_with_iobinding(bound.binding, self._options)
        return bound.outputs


class Graph:
    """A binder with fixed addresses: a CUDA graph is captured from the first input set and replayed
    for all.
    """

    def __init__(self, binder: Binder, tensors: Sequence[torch.Tensor]) -> None:
        self._binder = binder
        self._bound = binder.bind([tensor.detach().clone() for tensor in tensors])
        for _ in range(CAPTURED):
            binder(self._bound)

    def __call__(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Run with other inputs of the same shapes, and return the outputs."""
        for mine, given in zip(self._bound.inputs, tensors, strict=True):
            mine.copy_(given)
        return self._binder(self._bound)


def _options(**entries: str) -> Any:
    import onnxruntime

    options = onnxruntime.RunOptions()
    for name, value in entries.items():
        options.add_run_config_entry(name, value)
    return options


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Return the memory of a tensor in the form that bindings take. DLPack would not do:
    onnxruntime 1.31 does not support torch's bools in it.
    """
    device = tensor.device
    return (
        device.type,
        device.index or 0,
        ELEMENTS[tensor.dtype],
        list(tensor.shape),
        tensor.data_ptr(),
    )
