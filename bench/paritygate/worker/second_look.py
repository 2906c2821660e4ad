"""Second look: find how far rounding moves each element of eager's answers, when a part of an
answer seems wrong.

One run of eager gives the noise of an element as one number, which may be small by chance. Among
thousands of elements around zero, one backend's error is then many times eager's. Twins of eager,
with weights and inputs off by a rounding, give a better estimate. They are made only when a part
fails.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from paritygate.parity import rule
from paritygate.runtime.modes import answers, mode_of
from paritygate.runtime.nest import DENSE, form_of, mapped
from paritygate.runtime.subject import BoundCase, arrays

TWINS = 4


def twins(subject: BoundCase) -> list[rule.Sets]:
    """Return the answers of eager's twins to the checked inputs."""
    return [_answers(subject, number) for number in range(TWINS)]


def _answers(subject: BoundCase, number: int) -> list[list[Any]]:
    module = subject.module()
    generator = torch.Generator().manual_seed(number)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.is_floating_point():
                parameter.copy_(_moved(parameter, generator))
    sets = [
        mapped(inputs, partial(_moved, generator=generator), floating=True)
        for inputs in subject.inputs()
    ]
    return [arrays(outputs) for outputs in answers(mode_of(subject, module), sets)]


def _moved(tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the tensor with each element off by about one rounding of its dtype."""
    if form_of(tensor) != DENSE:
        return tensor
    noise = torch.randn(tensor.shape, generator=generator).to(tensor.device)
    size = torch.finfo(tensor.dtype).eps
    return (tensor.detach().double() * (1 + size * noise.double())).to(tensor.dtype)
