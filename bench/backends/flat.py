"""Flat: a model with tensors in and tensors out, as exporters want it."""

from __future__ import annotations

from typing import Any

import torch

from bench.subject import call, flatten, rebuild


class Flat(torch.nn.Module):
    """A model by position: names of in- and outputs cannot clash then. Inputs that are no tensors become part of it."""

    def __init__(self, module: torch.nn.Module, example: Any) -> None:
        super().__init__()
        leaves = flatten(example)
        self.module, self.given = module, [torch.is_tensor(leaf) for leaf in leaves]
        self.plain = [0 if torch.is_tensor(leaf) else leaf for leaf in leaves]
        self.nest = rebuild(example, list(self.plain))

    def forward(self, *flat: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The model's output tensors for the tensors of its inputs, both in the order of ``flatten``."""
        tensors = iter(flat)
        every = [next(tensors) if given else leaf for given, leaf in zip(self.given, self.plain, strict=True)]
        return tuple(flatten(call(self.module, rebuild(self.nest, every))))
