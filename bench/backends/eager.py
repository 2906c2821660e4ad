"""eager: the model called as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.backends import Prepared

if TYPE_CHECKING:
    from bench.case import Target
    from bench.subject import Subject


def available(_target: Target) -> str | None:
    """Eager runs wherever the device is."""
    return None


def preload() -> None:
    """The fork server has imported torch already."""


def prepare(subject: Subject) -> Prepared:
    """The model with its weights."""
    import torch

    from bench.facts import sdpa_kernels
    from bench.subject import call, tensors

    module = subject.module()

    def run(inputs: Any) -> Any:
        return call(module, inputs)

    return Prepared(
        call=run,
        model=module,
        read=tensors,
        guard=torch.inference_mode,
        kernels=lambda inputs: sdpa_kernels(lambda: run(inputs)),
    )
