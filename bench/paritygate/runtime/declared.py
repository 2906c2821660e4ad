"""Find the objects that the strings of a case name, and explain errors of calling them.

Runs in the reference worker and in workers. The error of a wrong declaration says how the harness
calls the object, and what to write. An error of the user's own code is raised unchanged, with a
note that names the string.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from types import TracebackType
from typing import Any

from paritygate.core.reasons import counted
from paritygate.host.lookup import HARNESS

# option of a Case -> how it is called, and an example of what to write
CALLED = {
    "model": ("without arguments", "def make(): return Net(width=64)"),
    "inputs": (
        "as inputs(sizes, generator)",
        'def rows(sizes, generator): return (torch.randn(sizes["batch"], 64, generator=generator),)',
    ),
    "variant": ("with the model", "def fused(model): return Fused(model)"),
    "preprocess": (
        "with the result of inputs, a tuple as arguments and a dict as keywords",
        "def encode(texts): return (tokens_of(texts),)",
    ),
    "optimizer": (
        "with the model's parameters",
        "def sgd(parameters): return torch.optim.SGD(parameters, lr=0.1)",
    ),
    "evaluate": ("without arguments", "def samples(): return inputs, labels"),
    "train_data": (
        "as train_data(sizes)",
        "def steps(sizes): return [(inputs, labels) for ...]",
    ),
    "flops": ("as flops(sizes)", 'def flops(sizes): return 2 * sizes["batch"] * 64'),
    "output_mask": (
        "with the model's inputs",
        "def filled(tokens, mask): return mask.bool()",
    ),
}


class WrongDeclarationError(Exception):
    """Model or inputs are not what the case declares. The message names the string, what was found,
    and what is right.
    """


def resolve(location: str) -> Any:
    """Return the object that ``"module:attribute"`` names. Raises ``WrongDeclarationError`` if
    there is none.

    An error inside the module is raised unchanged, with a note that names the location.
    """
    module_name, _, attribute = location.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            error.add_note(f'raised while importing "{location}"')
            raise  # the module exists, and one of its own imports is missing
        raise WrongDeclarationError(
            f'"{location}": there is no module {error.name!r} on {sys.path[:4]} ...'
        ) from None
    except Exception as error:
        error.add_note(f'raised while importing "{location}"')
        raise
    try:
        return getattr(module, attribute)
    except AttributeError:
        public = [name for name in vars(module) if not name.startswith("_")]
        near = "".join(
            f"; did you mean {name!r}?" for name in get_close_matches(attribute, public, 1)
        )
        raise WrongDeclarationError(
            f'"{location}": {module_name} has no {attribute!r}; it has {", ".join(public)}{near}'
        ) from None


@contextmanager
def error_note(what: str, location: str) -> Iterator[None]:
    """Explain an error of the user's callable. ``what`` is the field of the case that names it.

    If it does not take the arguments, raise a ``WrongDeclarationError`` that says how it is called
    and what to write. Any other error gets a note with the field and its string.
    """
    try:
        yield
    except WrongDeclarationError:
        raise
    except Exception as error:
        if isinstance(error, TypeError) and _from_the_call_itself(error.__traceback__):
            how, example = CALLED[what]
            raise WrongDeclarationError(
                f'{what} "{location}" is called {how}, which it does not take: {error}\n'
                f"write a function that does, for example\n{example}"
            ) from None
        error.add_note(f'raised by {what} "{location}"')
        raise


@contextmanager
def inputs_note(location: str, inputs: object) -> Iterator[None]:
    """Add a note to a ``TypeError`` of the model's first call: the arguments that it got."""
    try:
        yield
    except TypeError as error:
        many = len(inputs) if isinstance(inputs, tuple) else 0
        gave = (
            f"the keywords {', '.join(map(str, inputs))}"
            if isinstance(inputs, dict)
            else counted(many, "argument")
        )
        error.add_note(f'the model was called with the result of inputs "{location}": {gave}')
        raise


def _from_the_call_itself(trace: TracebackType | None) -> bool:
    """Return whether a line of the harness raised the error: the call did not enter the object."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith(HARNESS)
