"""Masks: the elements of an output that are compared, if a case declares padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from paritygate.runtime import nest
from paritygate.runtime.declared import WrongDeclarationError, error_note, resolve
from paritygate.runtime.subject import (
    BoundCase,
    Inputs,
    call,
)

Array = np.ndarray[Any, Any]
Masks = list[list[Array | None]]


def masks(
    subject: BoundCase,
    sets: Sequence[Inputs],
    outputs: Sequence[torch.Tensor],
    answer: Callable[[Inputs], Any],
) -> Masks | None:
    """Return for every input set and output the positions of its first axes that are compared.
    None: compare all of every output.

    ``output_mask=`` gives the masks itself. ``mask=`` names an input, which is the mask of the
    outputs that have its dimensions. An output with exactly these dimensions may have them by
    chance, for example as many classes as there are tokens. It counts only if it gets shorter when
    the inputs do; ``answer`` is called to find out.
    """
    if location := subject.case.output_mask:
        return [_declared(location, inputs, outputs) for inputs in sets]
    name = subject.case.mask
    if name is None:
        return None
    shape = tuple(_named(subject, sets[0], name).shape)
    if len(shape) < 2:
        return None
    follows = [_has(tuple(output.shape), shape) for output in outputs]
    if any(follows[n] and output.ndim == len(shape) for n, output in enumerate(outputs)):
        shorter = _shorter(sets[0], shape, answer)
        follows = [
            yes
            and (output.ndim > len(shape) or (shorter is not None and shorter[n] == shape[1] - 1))
            for n, (yes, output) in enumerate(zip(follows, outputs, strict=True))
        ]
    if not any(follows):
        return None
    kept = [_named(subject, inputs, name).bool().cpu().numpy() for inputs in sets]
    return [[mask if yes else None for yes in follows] for mask in kept]


def padding(inputs: Inputs, shape: tuple[int, ...]) -> dict[str, Array]:
    """Return the inputs that look like masks of an output of this shape, by path. They hold zeros
    and ones and have its first dimensions.
    """
    found = {}
    for path, leaf in nest.named_leaves(inputs):
        if torch.is_tensor(leaf) and leaf.ndim >= 2 and _has(shape, tuple(leaf.shape)):
            values = (
                leaf.cpu().numpy() if leaf.dtype != torch.bfloat16 else leaf.float().cpu().numpy()
            )
            if set(np.unique(values).tolist()) == {0, 1}:
                found[path] = values.astype(bool)
    return found


def _has(shape: tuple[int, ...], mask: tuple[int, ...]) -> bool:
    return len(shape) >= len(mask) and shape[: len(mask)] == mask


def _named(subject: BoundCase, inputs: Inputs, name: str | int) -> torch.Tensor:
    given: dict[Any, Any] = dict(inputs) if isinstance(inputs, dict) else dict(enumerate(inputs))
    if name not in given or not torch.is_tensor(given[name]):
        raise WrongDeclarationError(
            f"case {subject.case.name}: mask={name!r} is no input that is a tensor; inputs: {list(given)}"
        )
    mask: torch.Tensor = given[name]
    return mask


def _shorter(
    inputs: Inputs, shape: tuple[int, ...], answer: Callable[[Inputs], Any]
) -> list[int] | None:
    """Return the length of every output's second dimension when that of the inputs is shorter by
    one. Return None if the call fails.
    """

    def cut(leaf: torch.Tensor) -> torch.Tensor:
        return leaf[:, : shape[1] - 1] if _has(tuple(leaf.shape), shape[:2]) else leaf

    if shape[1] < 2:
        return None
    try:
        found = answer(nest.mapped(inputs, cut))
    except Exception:  # a length that the model does not take
        return None
    return [output.shape[1] if output.ndim > 1 else -1 for output in found]


def _declared(location: str, inputs: Inputs, outputs: Sequence[torch.Tensor]) -> list[Array | None]:
    with error_note("output_mask", location):
        made = call(resolve(location), inputs)
    own = isinstance(made, tuple | list)  # one for each output
    given = list(made) if own else [made] * len(outputs)
    if len(given) != len(outputs):
        raise WrongDeclarationError(
            f'output_mask "{location}" gave {len(given)} masks, the model gives {len(outputs)} outputs; give None for '
            "those of which all is compared"
        )
    found: list[Array | None] = []
    for number, (mask, output) in enumerate(zip(given, outputs, strict=True)):
        if mask is not None and not isinstance(mask, torch.Tensor | np.ndarray):
            raise WrongDeclarationError(
                f'output_mask "{location}" gave a {type(mask).__name__} for output {number}; it must give a boolean '
                "tensor, or a tuple of such and None, one for each output"
            )
        if mask is not None and not _has(tuple(output.shape), tuple(mask.shape)):
            if own:
                raise WrongDeclarationError(
                    f'output_mask "{location}" gave a mask of {tuple(mask.shape)} for output {number}, which is '
                    f"{tuple(output.shape)}: a mask has the first dimensions of its output"
                )
            mask = None  # one mask for all outputs; this one does not have its dimensions
        found.append(None if mask is None else torch.as_tensor(mask).bool().cpu().numpy())
    if all(mask is None for mask in found):
        nothing = own or made is None
        what = (
            "no mask"
            if nothing
            else f"a mask of {tuple(made.shape)}, which has the first dimensions of no output"
        )
        raise WrongDeclarationError(f'output_mask "{location}" gave {what}')
    return found
