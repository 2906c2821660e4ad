"""Subject: one case at one shape for one target, as a worker sees it; builds the model and its inputs.

Lives in the worker. The case comes as plain data, its strings are resolved here.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import random
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.scratch import Scratch

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
Inputs = tuple[Any, ...] | dict[str, Any]

CHECKED_SETS = 4  # input sets that are checked and that timing rotates over
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


def rebuild(nest: Any, leaves: list[Any]) -> Any:
    """A copy of ``nest`` with its leaves replaced, in the order of ``flatten``; consumes ``leaves``."""
    if nest is None:
        return None
    if isinstance(nest, Mapping):
        return {key: rebuild(value, leaves) for key, value in nest.items()}
    if isinstance(nest, tuple | list):
        return type(nest)([rebuild(value, leaves) for value in nest])
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

    @classmethod
    def of(cls, task: dict[str, Any]) -> Subject:
        """The subject of a worker's task."""
        return cls(**{name: task[name] for name in cls.__dataclass_fields__})

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

    def build(self) -> torch.nn.Module:
        """The model, freshly built from the seed, in the target's dtype and in ``eval()``."""
        factory = resolve(self.case["model"])
        torch.manual_seed(self._seed("model"))
        random.seed(self._seed("model"))
        np.random.seed(self._seed("model") % 2**32)
        module = factory()
        if not isinstance(module, torch.nn.Module):
            raise WrongDeclaration(
                f'model "{self.case["model"]}" gave a {type(module).__name__}; it must give an nn.Module '
                "when called without arguments"
            )
        module = module.to(self.device, self.dtype).eval()
        for name, part in module.named_modules():
            if part.training:
                raise WrongDeclaration(f"{name or 'the model'} is in training mode after eval()")
        return module.requires_grad_(False)

    def module(self) -> torch.nn.Module:
        """The model with the weights that the reference worker kept."""
        module = self.build()
        self.scratch.load_weights(module)
        return module

    def make_inputs(self, number: int, shape: str | None = None) -> Inputs:
        """Input set ``number`` for a shape (this one's by default), cast to the target's dtype."""
        make = resolve(self.case["inputs"])
        generator = torch.Generator().manual_seed(self._seed(f"inputs {number}"))
        made = make(dict(self.case["shapes"][shape or self.shape]), generator)
        if not isinstance(made, tuple | dict):
            raise WrongDeclaration(
                f'inputs "{self.case["inputs"]}" gave a {type(made).__name__}; it must give a tuple of '
                "positional or a dict of keyword arguments"
            )
        return self.cast(made)

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
        """The input sets that the reference worker kept."""
        sets: list[Inputs] = self.scratch.load("inputs")
        return sets

    def dynamic(self) -> list[dict[int, str]]:
        """For every input tensor its dynamic dimensions: those in which two shapes of the case differ.

        With one shape: dimension 0 of every input whose size there equals ``sizes["batch"]``.
        """
        here = [leaf for leaf in flatten(self.make_inputs(0)) if torch.is_tensor(leaf)]
        others = [
            [leaf for leaf in flatten(self.make_inputs(0, name)) if torch.is_tensor(leaf)]
            for name in self.case["shapes"]
            if name != self.shape
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
        """The SHA-256 of every loaded source file under the model's and the inputs' top-level packages.

        Content, not time: an artefact made from other source is another artefact.
        """
        digest = hashlib.sha256()
        for path in sorted(set(self.sources().values()), key=lambda path: (Path(path).name, path)):
            digest.update(Path(path).name.encode() + Path(path).read_bytes())
        return digest.hexdigest()

    def sources(self) -> dict[str, str]:
        """The loaded modules under the model's and the inputs' top-level packages, and their files."""
        tops = {self.case[key].partition(":")[0].partition(".")[0] for key in ("model", "inputs")}
        return {
            name: file
            for name, module in list(sys.modules.items())
            if name.partition(".")[0] in tops and (file := getattr(module, "__file__", None))
        }

    def _seed(self, purpose: str) -> int:
        """A seed for one purpose of this case: stable over processes and Python versions, unlike ``hash``."""
        key = json.dumps([self.seed, self.case["name"], purpose]).encode()
        return zlib.crc32(key)
