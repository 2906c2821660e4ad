"""Variants: further backends of one case, each a callable made from the case's model; see
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
    """Return None: only the variant itself knows."""
    return None


def preload() -> None:
    """Do nothing: a variant imports its packages itself, and a case may name them in
    ``preload``.
    """


def prepare(subject: BoundCase) -> PreparedModel:
    """Return the variant, made from the case's model with its weights."""
    import torch

    from paritygate.runtime.declared import WrongDeclarationError, error_note, resolve
    from paritygate.runtime.modes import mode_of

    location = subject.case.variants[subject.backend]
    make = resolve(location)
    model = subject.module()
    if isinstance(model, torch.nn.Module):
        # variants are for inference, and may write into weights, e.g. to prune them
        model.requires_grad_(False)
    # The contract of Case.variants (bench/README.md): a variant says that it cannot run here by an
    # ImportError of a package that is not installed, or by NotImplementedError, e.g. on a machine
    # without a GPU. Its cell is skipped with that reason. Any other error fails the cell.
    try:
        with error_note("variant", location):
            variant = make(model)
    except (ImportError, NotImplementedError) as error:
        if isinstance(error, ImportError) and not _lacks_a_package(error):
            raise  # a misspelt import is an error, not a reason to skip
        raise UnavailableError(f"{subject.backend}: {error}") from error
    if not callable(variant):
        raise WrongDeclarationError(
            f'variant "{location}" returned a {type(variant).__name__}; it must return a callable'
        )
    facts = getattr(variant, "facts", dict)
    # not asynchronous: its work may be on another stream or device
    return PreparedModel.from_mode(
        mode_of(subject, variant), model=variant, facts=facts, resizable=False, asynchronous=False
    )


def _lacks_a_package(error: ImportError) -> bool:
    """Return whether a package is not installed: Python did not find it, or the variant raises for
    it. False for a missing part of an installed one.
    """
    return error.name is None or importlib.util.find_spec(error.name.partition(".")[0]) is None
