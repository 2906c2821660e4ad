"""What the strings of a case name: found, and called as its documentation says.

Lives in the worker. An error of a wrong declaration says what the harness does with the object and
what to write; an error of the user's own code is left as it is, with a note that names the string.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Any

HARNESS = Path(__file__).parents[1]

# option of a Case -> how it is called, and an example of what to write
CALLED = {
    "model": ("without arguments", "def make(): return Net(width=64)"),
    "inputs": (
        "as inputs(sizes, generator)",
        'def rows(sizes, generator): return (torch.randn(sizes["batch"], 64, generator=generator),)',
    ),
    "variant": ("with the model", "def fused(model): return Fused(model)"),
    "preprocess": (
        "with what inputs gave, a tuple as arguments and a dict as keywords",
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
    """Model or inputs are not what the case promises: says which string, what was found, what would
    be right.
    """


def resolve(location: str) -> Any:
    """The object that ``"module:attribute"`` names. Raises ``WrongDeclarationError`` where there is
    none.

    An error of the module's own is raised as it is, with a note that names the location.
    """
    module_name, _, attribute = location.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            error.add_note(f'raised while importing "{location}"')
            raise  # found, but one of its own imports is missing: that error says more
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
def told_of(what: str, location: str) -> Iterator[None]:
    """Around a call of the object that the option ``what`` names.

    One that cannot be called so is a ``WrongDeclarationError``, which says how it is called and what
    to write. An error of its own gets a note that names the string.
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
def told_of_inputs(location: str, inputs: object) -> Iterator[None]:
    """Around the first call of the model: a ``TypeError`` gets a note of what it was called with."""
    try:
        yield
    except TypeError as error:
        many = len(inputs) if isinstance(inputs, tuple) else 0
        gave = (
            f"the keywords {', '.join(map(str, inputs))}"
            if isinstance(inputs, dict)
            else f"{many} argument{'' if many == 1 else 's'}"
        )
        error.add_note(f'the model was called with what inputs "{location}" gave: {gave}')
        raise


def _from_the_call_itself(trace: TracebackType | None) -> bool:
    """Whether an error was raised in a line of the harness: the object was not even entered."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(HARNESS)
