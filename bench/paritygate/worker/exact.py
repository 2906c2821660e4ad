"""Exact: float64 answers for the weights and inputs as rounded to the target's dtype."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from paritygate.core.record import Status
from paritygate.parity import rule
from paritygate.runtime.modes import Backward, Mode, Training, answers, mode_of
from paritygate.runtime.nest import doubled, mapped, tensor_leaves
from paritygate.runtime.promoted import Promoted
from paritygate.runtime.subject import BoundCase, Inputs, arrays
from paritygate.worker.errors import status_of

TWINS = 4  # their gradients are compared with the reference's; a tie that all of them miss is reported as a fault
# relative move of the twins' inputs: the size that one rounding has after a few layers
ROUNDINGS = 4 * 2.0**-24


def float64(
    subject: BoundCase, module: torch.nn.Module, sets: list[Inputs], done: Callable[[], object]
) -> tuple[str, dict[str, Any]]:
    """Save float64 answers for the weights and inputs as rounded to the target's dtype.

    Return why there are none, or "", and facts of what was ``promoted``: casts to shorter floats
    that became casts to float64, and operators that take no doubles. A model that gives gradients
    is promoted only if it fails without. Any other model is promoted first, because one that runs
    in float64 may still cast to float32 inside.
    """
    gives_gradients = subject.case.mode != "inference"
    reason, facts = "", dict[str, Any]()
    # higher-order operators do not run under a mode
    for promote in (False, True) if gives_gradients else (True, False):
        promoted = Promoted() if promote else nullcontext()
        try:
            with promoted:
                found = _answers(subject, module, sets, done)
        except Exception as error:
            status, text = status_of(error)
            if status is Status.OUT_OF_MEMORY:
                return f"the float64 reference ran out of memory ({text})", {}
            reason = f'no float64 reference ({text}); a model that cannot run in float64 declares reference="eager"'
            torch.compiler.reset()  # eager flex attention compiles; it remembers a failure under a mode
            continue
        if isinstance(promoted, Promoted) and (promoted.casts or promoted.operators):
            facts = {"promoted": promoted.facts()}
        reason = _short(found)
        if not reason:
            subject.scratch.save_answers("reference", [arrays(outputs) for outputs in found])
            return "", facts
    return reason, {}


def _answers(
    subject: BoundCase, module: torch.nn.Module, sets: list[Inputs], done: Callable[[], object]
) -> list[list[torch.Tensor]]:
    mode = mode_of(subject, double_of(subject, module), exact=True)
    found = answers(mode, [doubled(inputs) for inputs in sets], done)
    if isinstance(mode, Training | Backward) and subject.dtype_name == "fp32":
        subject.scratch.save("jumps", _jumps(subject, mode, sets, found, done))
    if isinstance(mode, Training):
        curve = mode.loss_curve([doubled(inputs) for inputs in sets], done)
        subject.scratch.save_answers("curve-reference", [arrays(curve)])
    return found


def double_of(subject: BoundCase, module: torch.nn.Module) -> torch.nn.Module:
    """Return the model in float64. If it cannot be copied, return a new one (``weight_norm`` keeps
    a computed weight).
    """
    try:
        made = copy.deepcopy(module)
    except Exception:  # a model can refuse to be copied in any way
        made = subject.module()
    return made.double()


def _short(found: list[list[torch.Tensor]]) -> str:
    """Return why answers are not in float64, or ""."""
    for outputs in found:
        for output, tensor in enumerate(outputs):
            if tensor.is_floating_point() and tensor.dtype != torch.float64:
                return (
                    f"the float64 reference gave {tensor.dtype} in output {output}: the model casts by itself, past "
                    'PyTorch\'s operators; declare reference="eager"'
                )
    return ""


def _jumps(
    subject: BoundCase,
    mode: Mode,
    sets: list[Inputs],
    exact: list[list[torch.Tensor]],
    done: Callable[[], object],
) -> list[float]:
    """Return for every output how far rounding moves it, in float64. It is the farthest of some
    twins whose inputs are moved by a rounding.

    A gradient jumps where rounding can change the side of a relu or the largest element of a pool.
    There it has two values, and both are right. In half precision this happens everywhere, and is
    part of eager's own error.
    """
    reference = [arrays(outputs) for outputs in exact]
    farthest = [0.0] * len(exact[0])
    moves = any(leaf.is_floating_point() for inputs in sets for leaf in tensor_leaves(inputs))
    for number in range(TWINS if moves else 0):  # token ids have no roundings
        generator = torch.Generator().manual_seed(number)
        moved = answers(mode, [_moved(doubled(inputs), generator) for inputs in sets], done)
        found = rule.distances(
            [arrays(outputs) for outputs in moved],
            reference,
            subject.tolerance,
            subject.gradient_start,
        )
        farthest = [max(pair) for pair in zip(farthest, found, strict=True)]
    return farthest


def _moved(inputs: Inputs, generator: torch.Generator) -> Inputs:
    """Return inputs whose floating values are off by some roundings of float32."""

    def off(leaf: torch.Tensor) -> torch.Tensor:
        return leaf * (
            1
            + ROUNDINGS
            * torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype).to(leaf.device)
        )

    moved: Inputs = mapped(inputs, off, floating=True)
    return moved
