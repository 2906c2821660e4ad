"""eager: the model called as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paritygate.backends.contract import PreparedModel

if TYPE_CHECKING:
    from paritygate.core.case import Target
    from paritygate.runtime.subject import BoundCase


def available(_target: Target) -> str | None:
    """Eager runs wherever the device is."""
    return None


def preload() -> None:
    """The fork server has imported torch already."""


def prepare(subject: BoundCase) -> PreparedModel:
    """The model with its weights."""
    from paritygate.runtime.facts import sdpa_kernels
    from paritygate.runtime.modes import mode_of

    module = subject.module()
    mode = mode_of(subject, module)
    return PreparedModel.of(
        mode,
        model=module,
        facts=getattr(module, "facts", dict),
        kernels=lambda inputs: sdpa_kernels(lambda: mode(inputs)),
    )
