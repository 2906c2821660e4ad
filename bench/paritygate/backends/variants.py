"""ways: a case's own further backends, each a callable made from the case's model; see
``Case.ways``.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from paritygate.backends.contract import PreparedModel, UnavailableError

if TYPE_CHECKING:
    from paritygate.core.case import Target
    from paritygate.runtime.subject import BoundCase


def available(_target: Target) -> str | None:
    """Only the way itself can tell."""
    return None


def preload() -> None:
    """What a way needs it imports by itself; a case may name it in ``preload``."""


def prepare(subject: BoundCase) -> PreparedModel:
    """The way, made from the case's model with its weights."""
    import torch

    from paritygate.runtime.modes import mode_of
    from paritygate.runtime.subject import WrongDeclarationError, resolve

    location = subject.case.ways[subject.backend]
    make = resolve(location)
    model = subject.module()
    if isinstance(model, torch.nn.Module):
        # ways are for inference, and may write into weights: prune them, say
        model.requires_grad_(False)
    try:
        way = make(model)
    except (ImportError, NotImplementedError) as error:
        if isinstance(error, ImportError) and not _lacks_a_package(error):
            raise  # a misspelt import is a mistake, and no reason to skip
        raise UnavailableError(f"{subject.backend}: {error}") from error
    if not callable(way):
        raise WrongDeclarationError(
            f'way "{location}" gave a {type(way).__name__}; it must give something to call'
        )
    told = getattr(way, "facts", dict)
    # it may be elsewhere
    return PreparedModel.of(
        mode_of(subject, way), model=way, facts=told, resizable=False, asynchronous=False
    )


def _lacks_a_package(error: ImportError) -> bool:
    """Whether a package is not installed, as Python found or the way says itself; not a part of one
    that is.
    """
    return error.name is None or importlib.util.find_spec(error.name.partition(".")[0]) is None
