"""eager: the model called as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.backends import Prepared
    from bench.case import Target
    from bench.subject import Subject


def available(_target: Target) -> str | None:
    """Eager runs wherever the device is."""
    return None


def preload() -> None:
    """The fork server has imported torch already."""


def prepare(subject: Subject) -> Prepared:
    """The model with its weights."""
    from bench.facts import sdpa_kernels
    from bench.modes import mode_of, prepared

    module = subject.module()
    mode = mode_of(subject, module)
    return prepared(
        mode,
        model=module,
        facts=getattr(module, "facts", dict),
        kernels=lambda inputs: sdpa_kernels(lambda: mode(inputs)),
    )
