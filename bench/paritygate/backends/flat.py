"""Flat: a model that takes and returns tensors only, as exporters need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from paritygate.backends.contract import UnavailableError
from paritygate.runtime.nest import DENSE, as_tensors, flatten, form_of, named_leaves, rebuild
from paritygate.runtime.subject import call

if TYPE_CHECKING:
    from paritygate.runtime.subject import BoundCase


def exportable(subject: BoundCase) -> torch.nn.Module:
    """Return the model for an exporter. Raises ``UnavailableError`` if no exporter takes it."""
    module = subject.module()
    kind = type(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        raise UnavailableError(
            f"the model is a TorchScript module ({kind}), which torch.export does not take: use the module before it "
            "was scripted or traced"
        )
    return module


def example(subject: BoundCase) -> Any:
    """Return inputs for an exporter. Raises ``UnavailableError`` if they are of a kind that no
    exporter takes.
    """
    made = subject.encode(subject.make_inputs(0))
    for path, leaf in named_leaves(made):
        if torch.is_tensor(leaf) and (form := form_of(leaf)) != DENSE:
            raise UnavailableError(
                f"input {path!r} is a {form} tensor, which torch.export does not take: use a dense one and make it "
                f"{form} in the model, or leave this backend out"
            )
    return made


class Flat(torch.nn.Module):
    """A model with positional tensors, so that names of inputs and outputs cannot clash. Inputs
    that are no tensors become part of it.
    """

    def __init__(self, module: torch.nn.Module, example: Any) -> None:
        super().__init__()
        leaves = flatten(example)
        self.module, self.given = module, [torch.is_tensor(leaf) for leaf in leaves]
        # inputs that are no tensors, e.g. those that make up a cache object
        self.plain = [torch.empty(0) if torch.is_tensor(leaf) else leaf for leaf in leaves]
        self.nest = rebuild(example, list(self.plain))

    def forward(self, *flat: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the model's output tensors. Inputs and outputs are in the order of ``flatten``."""
        tensors = iter(flat)
        every = [
            next(tensors) if given else leaf
            for given, leaf in zip(self.given, self.plain, strict=True)
        ]
        return tuple(as_tensors(call(self.module, rebuild(self.nest, every))))
