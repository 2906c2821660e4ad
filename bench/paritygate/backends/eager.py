"""eager: the model, called without changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paritygate.backends.contract import PreparedModel

if TYPE_CHECKING:
    from paritygate.core.case import Target
    from paritygate.runtime.subject import BoundCase


def available(_target: Target) -> str | None:
    """Return None: eager runs on every device."""
    return None


def preload() -> None:
    """Do nothing: the fork server has already imported torch."""


def prepare(subject: BoundCase) -> PreparedModel:
    """Return the model with its weights."""
    from paritygate.runtime.facts import sdpa_kernels
    from paritygate.runtime.modes import mode_of

    module = subject.module()
    mode = mode_of(subject, module)
    return PreparedModel.from_mode(
        mode,
        model=module,
        facts=getattr(module, "facts", dict),
        kernels=lambda inputs: sdpa_kernels(lambda: mode(inputs)),
    )
