"""Binding: ONNX Runtime on tensors that lie where it computes, instead of on numpy arrays that it copies.

Inputs are torch's own tensors, outputs are tensors that torch has allocated: nothing is copied, and both work on one
stream. With a CUDA graph all addresses are fixed, so one binding serves every input set and inputs are copied into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

# onnx.TensorProto.DataType
DTYPES = {1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64,
          9: torch.bool, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}  # fmt: skip
CAPTURED = 4  # runs after which a CUDA graph is captured for sure; the first two are ordinary ones


ELEMENTS = {dtype: number for number, dtype in DTYPES.items()}


@dataclass
class Bound:
    """One input set with its outputs, bound; ``outputs`` are written by every run."""

    binding: Any
    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]


class Binder:
    """Binds input sets to a session and runs them. ``options`` of a run, or None."""

    def __init__(self, session: Any, options: Any) -> None:
        self._session, self._options = session, options
        self._names = [value.name for value in session.get_inputs()]
        self._answers = [value.name for value in session.get_outputs()]

    def bind(self, tensors: Sequence[torch.Tensor]) -> Bound:
        """A set of inputs, in the order of the session's; its outputs get their shapes from a first run."""
        inputs = [tensor.detach().contiguous() for tensor in tensors]
        binding = self._session.io_binding()
        for name, tensor in zip(self._names, inputs, strict=True):
            binding.bind_input(name, *_place(tensor))
        device = inputs[0].device
        for name in self._answers:
            binding.bind_output(name, device.type, device.index or 0)
        self._session.run_with_iobinding(binding, self._options)
        outputs = [
            torch.empty(value.shape(), dtype=DTYPES[value.element_type()], device=device)
            for value in binding.get_outputs()
        ]
        binding.clear_binding_outputs()
        for name, tensor in zip(self._answers, outputs, strict=True):
            binding.bind_output(name, *_place(tensor))
        return Bound(binding, inputs, outputs)

    def __call__(self, bound: Bound) -> list[torch.Tensor]:
        """The outputs of a run, in the memory that the next run writes to."""
        self._session.run_with_iobinding(bound.binding, self._options)
        return bound.outputs


class Graph:
    """The same with fixed addresses: a CUDA graph is captured from the first input set, and replayed for all."""

    def __init__(self, binder: Binder, tensors: Sequence[torch.Tensor]) -> None:
        self._binder = binder
        self._bound = binder.bind([tensor.detach().clone() for tensor in tensors])
        for _ in range(CAPTURED):
            binder(self._bound)

    def __call__(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The outputs for other inputs of the same shapes."""
        for mine, given in zip(self._bound.inputs, tensors, strict=True):
            mine.copy_(given)
        return self._binder(self._bound)


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Where a tensor lies, as bindings take it. Not by DLPack: of torch's bools onnxruntime 1.31 says unsupported."""
    device = tensor.device
    return device.type, device.index or 0, ELEMENTS[tensor.dtype], list(tensor.shape), tensor.data_ptr()
