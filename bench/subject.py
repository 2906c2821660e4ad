"""Subject: one case at one shape for one target, as a worker sees it; builds the model and its inputs.

Lives in the worker. The case comes as plain data, its strings are resolved here.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import sys
import sysconfig
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from bench import parity
from bench.scratch import Scratch

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16,
          "amp_fp16": torch.float32, "amp_bf16": torch.float32}  # of weights and inputs  # fmt: skip
Inputs = tuple[Any, ...] | dict[str, Any]

INSTALLED = {"site-packages", "dist-packages"}
FOREIGN = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), Path(__file__).parent)

CHECKED_SETS = 4  # input sets that are checked and that timing rotates over
TRAINED_SETS = 2  # batches of a training, whose answers are as large as the model
CHECKED_ROWS = 32  # rows checked in sum: with fewer, two logits of one row fail by chance


class WrongDeclaration(Exception):
    """Model or inputs are not what the case promises: says which string, what was found, what would be right."""


def resolve(location: str) -> Any:
    """The object that ``"module:attribute"`` names. Raises ``WrongDeclaration`` where there is none."""
    module_name, _, attribute = location.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise  # found, but one of its own imports is missing: that error says more
        raise WrongDeclaration(f'"{location}": there is no module {error.name!r} on {sys.path[:4]} ...') from None
    try:
        return getattr(module, attribute)
    except AttributeError:
        public = [name for name in vars(module) if not name.startswith("_")]
        raise WrongDeclaration(
            f'"{location}": {module_name} has no {attribute!r}; it has {", ".join(public)}'
        ) from None


def flatten(nest: Any) -> list[Any]:
    """The leaves of a nest of tuples, lists and mappings (``ModelOutput`` is one), in order; None is none."""
    if nest is None:
        return []
    if isinstance(nest, Mapping):
        return [leaf for value in nest.values() for leaf in flatten(value)]
    if isinstance(nest, tuple | list):
        return [leaf for value in nest for leaf in flatten(value)]
    return [nest]


def tensor_leaves(nest: Any) -> list[torch.Tensor]:
    """The tensors among the leaves of a nest, in order."""
    return [leaf for leaf in flatten(nest) if torch.is_tensor(leaf)]


def rebuild(nest: Any, leaves: list[Any]) -> Any:
    """A copy of ``nest`` with its leaves replaced, in the order of ``flatten``; consumes ``leaves``."""
    if nest is None:
        return None
    if isinstance(nest, Mapping):
        return {key: rebuild(value, leaves) for key, value in nest.items()}
    if isinstance(nest, tuple | list):
        made = [rebuild(value, leaves) for value in nest]
        return type(nest)(*made) if hasattr(nest, "_fields") else type(nest)(made)  # a named tuple's take them singly
    return leaves.pop(0)


def call(function: Callable[..., Any], inputs: Inputs) -> Any:
    """Call with positional or keyword arguments, whichever the inputs are."""
    return function(**inputs) if isinstance(inputs, dict) else function(*inputs)


def tensors(raw: Any) -> list[torch.Tensor]:
    """The output tensors of a call, as copies of their own memory on the CPU."""
    return [
        leaf.detach().to("cpu", copy=True) if torch.is_tensor(leaf) else torch.as_tensor(leaf) for leaf in flatten(raw)
    ]


def arrays(outputs: list[torch.Tensor]) -> list[np.ndarray[Any, Any]]:
    """Output tensors as numpy arrays; bf16, which numpy lacks, as float64."""
    return [t.double().numpy() if t.dtype == torch.bfloat16 else t.numpy() for t in outputs]


def _arguments(made: Any, what: str, location: str) -> Inputs:
    """What was made, if a model can be called with it."""
    if not isinstance(made, tuple | dict):
        raise WrongDeclaration(
            f'{what} "{location}" gave a {type(made).__name__}; it must give a tuple of positional or a dict of '
            "keyword arguments"
        )
    return made


def _named_tuple(nest: Any) -> str | None:
    """The class of the first named tuple in a nest; None where there is none."""
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return type(nest).__name__
    parts = nest.values() if isinstance(nest, Mapping) else nest if isinstance(nest, tuple | list) else ()
    return next(filter(None, map(_named_tuple, parts)), None)


def _foreign(module: ModuleType) -> bool:
    """Whether a top-level module is the interpreter's own, an installed one or this harness: not the user's."""
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", ()))
    return all(  # a built-in module has no place
        not INSTALLED.isdisjoint(Path(place).parts) or any(Path(place).is_relative_to(home) for home in FOREIGN)
        for place in places
    )


@dataclass
class Subject:
    """One case at one shape for one target. ``backend`` is empty in the reference worker."""

    case: dict[str, Any]
    shape: str
    device: str
    dtype_name: str
    backend: str
    folder: str
    cache: str
    seed: int
    threads: int
    stream: int | None = field(default=None, init=False)  # what the device's work is queued on, as a pointer

    @classmethod
    def of(cls, task: dict[str, Any]) -> Subject:
        """The subject of a worker's task."""
        return cls(**{given.name: task[given.name] for given in fields(cls) if given.init})

    @cached_property
    def scratch(self) -> Scratch:
        """The files of this subject's group."""
        return Scratch(Path(self.folder))

    @property
    def dtype(self) -> torch.dtype:
        """The target's dtype."""
        return DTYPES[self.dtype_name]

    @property
    def sizes(self) -> dict[str, int]:
        """The named sizes of the shape."""
        sizes: dict[str, int] = self.case["shapes"][self.shape]
        return sizes

    @property
    def tolerance(self) -> parity.Tolerance:
        """How far answers may be off: the case's own row of the table, or that of the dtype and mode."""
        of_mode = self.dtype_name if self.case["mode"] == "inference" else f"{self.dtype_name}_gradients"
        return parity.tolerances()[self.case["tolerance"] or of_mode]

    @property
    def common(self) -> int | None:
        """From which output on all are parts of one whole: a training's gradients, after its loss."""
        return 1 if self.case["mode"] == "training" else None

    def build(self) -> Any:
        """The model, freshly built from the seed: a module in the target's dtype and its mode, or another callable."""
        factory = resolve(self.case["model"])
        torch.manual_seed(self._seed("model"))
        random.seed(self._seed("model"))
        np.random.seed(self._seed("model") % 2**32)
        made = factory()
        if not isinstance(made, torch.nn.Module):
            if not callable(made) or isinstance(made, type):
                raise WrongDeclaration(
                    f'model "{self.case["model"]}" gave a {type(made).__name__}; it must give an nn.Module, or '
                    "another callable, when called without arguments"
                )
            return made
        module, training = made.to(self.device, self.dtype), self.case["mode"] == "training"
        module.train(training)
        for name, part in module.named_modules():
            if part.training != training:
                wrong, asked = ("training", "eval()") if part.training else ("inference", "train()")
                raise WrongDeclaration(f"{name or 'the model'} is in {wrong} mode after {asked}")
        return module.requires_grad_(self.case["mode"] != "inference")

    def module(self) -> Any:
        """The model with the weights that the reference worker kept."""
        module = self.build()
        if isinstance(module, torch.nn.Module):
            self.scratch.load_weights(module)
        return module

    def make_inputs(self, number: int, shape: str | None = None) -> Inputs:
        """Input set ``number`` for a shape (this one's by default), cast to the target's dtype."""
        make = resolve(self.case["inputs"])
        generator = torch.Generator().manual_seed(self._seed(f"inputs {number}"))
        made = _arguments(
            make(dict(self.case["shapes"][shape or self.shape]), generator), "inputs", self.case["inputs"]
        )
        if (kind := _named_tuple(made)) is not None:  # a file that holds a user's class is not read back
            raise WrongDeclaration(
                f'inputs "{self.case["inputs"]}" gave a {kind}, a named tuple; give plain tuples, lists and dicts, and '
                "make it in preprocess or in the model"
            )
        return self.cast(made)

    def encode(self, raw: Inputs) -> Inputs:
        """The model's arguments for raw inputs: what ``preprocess`` makes of them."""
        if not (location := self.case["preprocess"]):
            return raw
        return self.cast(_arguments(call(resolve(location), raw), "preprocess", location))

    def cast(self, inputs: Inputs) -> Inputs:
        """Inputs with floating tensors in the target's dtype, on its device; integers and masks as they are."""
        moved = [
            leaf.to(self.device, self.dtype if leaf.is_floating_point() else leaf.dtype)
            if torch.is_tensor(leaf)
            else leaf
            for leaf in flatten(inputs)
        ]
        same: Inputs = rebuild(inputs, moved)
        return same

    def inputs(self) -> list[Inputs]:
        """The input sets that the reference worker kept, as the model takes them."""
        return [self.encode(raw) for raw in self.raw_inputs()]

    def raw_inputs(self) -> list[Inputs]:
        """The input sets that the reference worker kept, as ``inputs`` gave them."""
        sets: list[Inputs] = self.scratch.load("inputs")
        return sets

    def dynamic(self) -> list[dict[int, str]]:
        """For every input tensor its dynamic dimensions: those in which two shapes of the case differ.

        With one shape: dimension 0 of every input whose size there equals ``sizes["batch"]``.
        """
        here = tensor_leaves(self.encode(self.make_inputs(0)))
        others = [
            tensor_leaves(self.encode(self.make_inputs(0, name))) for name in self.case["shapes"] if name != self.shape
        ]
        if not others:
            batch = self.sizes.get("batch")
            return [{0: "batch"} if leaf.ndim and leaf.shape[0] == batch else {} for leaf in here]
        return [
            {
                dim: f"in_{number}_{dim}"
                for dim in range(leaf.ndim)
                if any(other[number].shape[dim] != leaf.shape[dim] for other in others)
            }
            for number, leaf in enumerate(here)
        ]

    def source_digest(self) -> str:
        """The SHA-256 of every file of ``sources``.

        Content, not time: an artefact made from other source is another artefact.
        """
        files = [Path(file) for file in set(self.sources().values())]
        content = sorted((file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files)
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def sources(self) -> dict[str, str]:
        """The loaded modules that the model's numbers can depend on, and their files.

        All that are neither the interpreter's, nor installed, nor this harness's: a model's layers may lie beside it.
        And all under the top-level packages of model, inputs and ways, wherever they come from.
        """
        located = [self.case["model"], self.case["inputs"], *self.case["ways"].values()]
        tops = {location.partition(":")[0].partition(".")[0] for location in located}
        modules = dict(sys.modules)  # another thread may be importing
        tops |= {name for name in modules if "." not in name and not _foreign(modules[name])}
        return {
            name: file
            for name, module in modules.items()
            if name.partition(".")[0] in tops and os.path.isfile(file := getattr(module, "__file__", None) or "")
        }

    def _seed(self, purpose: str) -> int:
        """A seed for one purpose of this case: stable over processes and Python versions, unlike ``hash``."""
        key = json.dumps([self.seed, self.case["name"], purpose]).encode()
        return zlib.crc32(key)
