"""Variants: a case's own further backends, each a callable made from the case's model; see
``Case.variants``.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from paritygate.backends.contract import PreparedModel, UnavailableError

if TYPE_CHECKING:
    from paritygate.core.case import Target
    from paritygate.runtime.subject import BoundCase


def available(_target: Target) -> str | None:
    """Only the variant itself can tell."""
    return None


def preload() -> None:
    """What a variant needs it imports by itself; a case may name it in ``preload``."""


def prepare(subject: BoundCase) -> PreparedModel:
    """The variant, made from the case's model with its weights."""
    import torch

    from paritygate.runtime.declared import WrongDeclarationError, resolve, told_of
    from paritygate.runtime.modes import mode_of

    location = subject.case.variants[subject.backend]
    make = resolve(location)
    model = subject.module()
    if isinstance(model, torch.nn.Module):
        # variants are for inference, and may write into weights: prune them, say
        model.requires_grad_(False)
    try:
        with told_of("variant", location):
            variant = make(model)
    except (ImportError, NotImplementedError) as error:
        if isinstance(error, ImportError) and not _lacks_a_package(error):
            raise  # a misspelt import is a mistake, and no reason to skip
        raise UnavailableError(f"{subject.backend}: {error}") from error
    if not callable(variant):
        raise WrongDeclarationError(
            f'variant "{location}" gave a {type(variant).__name__}; it must give something to call'
        )
    told = getattr(variant, "facts", dict)
    # it may be elsewhere
    return PreparedModel.of(
        mode_of(subject, variant), model=variant, facts=told, resizable=False, asynchronous=False
    )


def _lacks_a_package(error: ImportError) -> bool:
    """Whether a package is not installed, as Python found or the variant says itself; not a part of one
    that is.
    """
    return error.name is None or importlib.util.find_spec(error.name.partition(".")[0]) is None
