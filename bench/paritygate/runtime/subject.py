"""BoundCase: one case at one shape for one target, in a worker. It builds the model and its inputs.

The case comes as plain data; its strings are resolved here.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from paritygate.core.case import Case
from paritygate.host.lookup import of_user
from paritygate.parity.tolerance import Tolerance, tolerances
from paritygate.runtime.declared import WrongDeclarationError, error_note, resolve
from paritygate.runtime.nest import comparable, fresh, mapped, named_leaves, tensor_leaves, value_of
from paritygate.runtime.scratch import Scratch

# dtypes of weights and inputs
DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "amp_fp16": torch.float32,
    "amp_bf16": torch.float32,
}
Inputs = tuple[Any, ...] | dict[str, Any]

CHECKED_SETS = 4  # input sets that are checked; timing rotates over them
TRAINED_SETS = 2  # the same for a training, whose answers are as large as the model
UNSEEN = 1_000_000  # number of the first input set that no check uses
KEPT_UNSEEN = 3  # input sets that the audit of times needs for an honest model
CHECKED_ROWS = 32  # rows checked in total: with fewer, two logits of one row fail by chance


def call(function: Callable[..., Any], inputs: Inputs) -> Any:
    """Call the function with positional or keyword arguments, depending on the inputs."""
    return function(**inputs) if isinstance(inputs, dict) else function(*inputs)


def arrays(outputs: list[torch.Tensor]) -> list[np.ndarray[Any, Any]]:
    """Return output tensors as numpy arrays; bf16, which numpy lacks, as float32."""
    return [
        t.float().numpy() if t.dtype == torch.bfloat16 else t.resolve_conj().resolve_neg().numpy()
        for t in outputs
    ]


def _arguments(made: Any, what: str, location: str) -> Inputs:
    """Return the value if a model can be called with it. Raises ``WrongDeclarationError``."""
    if not isinstance(made, tuple | dict):
        raise WrongDeclarationError(
            f'{what} "{location}" returned a {type(made).__name__}; it must return a tuple of positional or a dict of '
            "keyword arguments"
        )
    return made


def _foreign(module: ModuleType) -> bool:
    """Return whether a top-level module is not the user's: it is the interpreter's, installed, or
    this harness.
    """
    file = getattr(module, "__file__", None)
    places = [file] if file else list(getattr(module, "__path__", ()))
    # a built-in module has no place
    return not any(of_user(os.path.abspath(place)) for place in places)


def _differing(
    here: list[torch.Tensor], others: list[list[torch.Tensor]], number: int
) -> dict[int, str]:
    """Return the dimensions in which input ``number`` differs from that of other shapes, with a
    name for each.
    """
    return {
        dim: f"in_{number}_{dim}"
        for dim in range(here[number].ndim)
        if any(other[number].shape[dim] != here[number].shape[dim] for other in others)
    }


def lazy(module: Any) -> bool:
    """Return whether a model has weights whose size the first call decides."""
    if not isinstance(module, torch.nn.Module):
        return False
    return any(is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers()))


def built(module: torch.nn.Module) -> dict[str, str]:
    """Return a digest of every tensor and array of a model that is not in its ``state_dict``, by
    name.
    """
    kept = set(module.state_dict())
    values = {f"buffer {name}": value for name, value in module.named_buffers() if name not in kept}
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if not name.startswith("_"):
                where = ".".join(filter(None, (prefix, name)))
                values |= {
                    f"attribute {where}" + (f".{path}" if path != "0" else ""): leaf
                    for path, leaf in named_leaves(value)
                    if torch.is_tensor(leaf) or isinstance(leaf, np.ndarray)
                }
    return {name: _digest(value) for name, value in values.items() if not is_lazy(value)}


def _digest(value: Any) -> str:
    return " ".join(map(value_of, arrays(comparable(value)) if torch.is_tensor(value) else [value]))


@dataclass
class BoundCase:
    """One case at one shape for one target. ``backend`` is empty in the reference worker."""

    case: Case
    shape: str
    device: str
    dtype_name: str
    backend: str
    folder: str
    cache: str
    seed: int
    threads: int
    # the stream of the device's work, as a pointer
    stream: int | None = field(default=None, init=False)
    _kept_meta: dict[str, Any] = field(default_factory=dict, init=False)

    @classmethod
    def from_task(cls, task: dict[str, Any]) -> BoundCase:
        """Return the bound case of a worker's task."""
        given = {field.name: task[field.name] for field in fields(cls) if field.init}
        return cls(**given | {"case": Case.from_dict(task["case"])})

    @cached_property
    def scratch(self) -> Scratch:
        """The files of this case's group."""
        return Scratch(Path(self.folder))

    @property
    def dtype(self) -> torch.dtype:
        """The target's dtype."""
        return DTYPES[self.dtype_name]

    @property
    def sizes(self) -> dict[str, int]:
        """The named sizes of the shape."""
        return self.case.sizes(self.shape)

    @property
    def tolerance(self) -> Tolerance:
        """The tolerance of the answers: the row that the case names, or that of the dtype and
        mode.
        """
        of_mode = (
            self.dtype_name if self.case.mode == "inference" else f"{self.dtype_name}_gradients"
        )
        policy = self.case.tolerance or of_mode
        if policy not in tolerances():
            raise WrongDeclarationError(
                f"case {self.case.name}: tolerance={policy!r} is no row of tolerances.csv; it has "
                f"{', '.join(tolerances())}"
            )
        return tolerances()[policy]

    @property
    def gradient_start(self) -> int | None:
        """The index of the first output that is a gradient of the training: 1, after the loss. None
        in other modes.
        """
        return 1 if self.case.mode == "training" else None

    @property
    def remembered(self) -> tuple[str, ...]:
        """Names of the state on which the model's answers depend, as the reference worker has found
        it.
        """
        return tuple(self._meta.get("state", ()))

    @property
    def written(self) -> tuple[str, ...]:
        """Names of the inputs that the model writes to."""
        return tuple(self._meta.get("written", ()))

    @property
    def consumed(self) -> tuple[str, ...]:
        """Names of the raw inputs that ``preprocess`` writes to."""
        return tuple(self._meta.get("consumed", ()))

    @property
    def _meta(self) -> dict[str, Any]:
        """The facts that the reference worker has saved. Read once, since ``encode`` needs them in
        every timed call.
        """
        if not self._kept_meta and self.scratch.has("meta"):
            self._kept_meta = self.scratch.load("meta")
        return self._kept_meta

    def build(self) -> Any:
        """Return the model, built from the seed: a module in the target's dtype and its mode, or
        another callable.
        """
        factory = resolve(self.case.model)
        torch.manual_seed(self._seed("model"))
        random.seed(self._seed("model"))
        np.random.seed(self._seed("model") % 2**32)
        if isinstance(factory, torch.nn.Module):
            raise WrongDeclarationError(
                f'model "{self.case.model}" is a module that is built already; name the class, or a '
                "function without arguments that builds it: each process builds its own from the seed"
            )
        with error_note("model", self.case.model):
            made = factory()
        if not isinstance(made, torch.nn.Module):
            if not callable(made) or isinstance(made, type):
                raise WrongDeclarationError(
                    f'model "{self.case.model}" returned a {type(made).__name__}; it must return an nn.Module, or '
                    "another callable, when called without arguments"
                )
            return made
        return made.to(self.device, self.dtype).train(self.case.mode == "training")

    def materialise(self, module: Any, inputs: Inputs) -> None:
        """Run a lazy module once, so that its weights get a size. Does nothing for other models."""
        if lazy(module):
            torch.manual_seed(self._seed("model"))
            training = self.case.mode == "training"  # inputs are pairs with labels there
            with torch.no_grad():
                call(module, fresh(inputs[0] if isinstance(inputs, tuple) and training else inputs))

    def module(self) -> Any:
        """Return the model with the weights that the reference worker saved."""
        module = self.build()
        if isinstance(module, torch.nn.Module):
            if lazy(module):
                self.materialise(module, self.inputs()[0])
            self.scratch.load_weights(module)
            self._require_the_same_build(module)
        return module

    def _require_the_same_build(self, module: torch.nn.Module) -> None:
        """Raise ``WrongDeclarationError`` if the model was built with other tensors than in the
        reference worker.

        Weights are saved and loaded. Everything else that a model draws when it is built must come
        from the seed.
        """
        kept = self.scratch.load("built") if self.scratch.has("built") else {}
        for name, digest in built(module).items():
            if kept.get(name, digest) != digest:
                raise WrongDeclarationError(
                    f'model "{self.case.model}" differs from build to build: {name} differs from that in another '
                    "process; draw it from torch's, numpy's or random's global generator, which are seeded, or make it "
                    "a persistent buffer, which is saved"
                )

    def make_inputs(
        self, number: int, shape: str | None = None, changed: dict[str, int] | None = None
    ) -> Inputs:
        """Return input set ``number`` for a shape (this one's by default), cast to the target's
        dtype.

        ``changed``: sizes that replace those of the shape.
        """
        make = resolve(self.case.inputs)
        generator = torch.Generator().manual_seed(self._seed(f"inputs {number}"))
        sizes = self.case.sizes(shape or self.shape) | (changed or {})
        with error_note("inputs", self.case.inputs):
            made = make(sizes, generator)
        return self.cast(_arguments(made, "inputs", self.case.inputs))

    def encode(self, raw: Inputs) -> Inputs:
        """Return the model's arguments for raw inputs: the result of ``preprocess``, or the inputs
        themselves.
        """
        if not (location := self.case.preprocess):
            return raw
        with error_note("preprocess", location):
            made = call(resolve(location), fresh(raw) if self.consumed else raw)
        return self.cast(_arguments(made, "preprocess", location))

    def cast(self, inputs: Inputs) -> Inputs:
        """Return the inputs on the target's device, floating tensors in its dtype. Integers and
        masks keep their dtype.
        """

        def moved(leaf: torch.Tensor) -> torch.Tensor:
            return leaf.to(self.device, self.dtype if leaf.is_floating_point() else leaf.dtype)

        same: Inputs = mapped(inputs, moved)
        return same

    def inputs(self) -> list[Inputs]:
        """Return the input sets that the reference worker saved, as the model takes them."""
        return [self.encode(raw) for raw in self.raw_inputs()]

    def raw_inputs(self) -> list[Inputs]:
        """Return the input sets that the reference worker saved, before ``preprocess``."""
        sets: list[Inputs] = self.scratch.load("inputs")
        return sets

    def dynamic(self) -> list[dict[int, str]]:
        """Return for every input tensor its dynamic dimensions: those in which two shapes of the
        case differ.

        With only one shape, the sizes of ``Case.dynamic`` (or "batch") are changed, to see which
        dimensions follow. A table that is as long as the batch by chance does not follow. If the
        inputs cannot be made for another size, that size is static.
        """
        here = tensor_leaves(self.encode(self.make_inputs(0)))
        named = (
            [name for name in self.case.shapes if name != self.shape]
            if self.case.dynamic is None
            else []
        )
        if named:
            others = [tensor_leaves(self.encode(self.make_inputs(0, name))) for name in named]
            return [_differing(here, others, number) for number in range(len(here))]
        dynamic: list[dict[int, str]] = [{} for _ in here]
        for size in ("batch",) if self.case.dynamic is None else self.case.dynamic:
            for number, dims in enumerate(self._following(size, here)):
                dynamic[number] |= dict.fromkeys(dims, size)
        return dynamic

    def _following(self, size: str, here: list[torch.Tensor]) -> list[list[int]]:
        """Return for every input tensor the dimensions that follow a named size."""
        nothing: list[list[int]] = [[] for _ in here]
        if size not in self.sizes:
            return nothing
        try:
            other = tensor_leaves(
                self.encode(self.make_inputs(0, changed={size: self.sizes[size] + 1}))
            )
        except Exception:  # inputs may exist in one size only
            return nothing
        if len(other) != len(here) or any(
            a.ndim != b.ndim for a, b in zip(here, other, strict=True)
        ):
            return nothing
        return [
            [dim for dim in range(a.ndim) if not a.is_nested and b.shape[dim] == a.shape[dim] + 1]
            for a, b in zip(here, other, strict=True)
        ]

    def source_digest(self) -> str:
        """Return the SHA-256 of every file in ``sources``.

        It depends on the content, not on the time: an artefact made from other source is another
        artefact.
        """
        files = [Path(file) for file in set(self.sources().values())]
        content = sorted(
            (file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files
        )
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def sources(self) -> dict[str, str]:
        """Return the loaded modules that can change the model's numbers, and their files.

        These are all modules that are neither the interpreter's, nor installed, nor this harness's:
        a model's layers may lie in a file beside it. And all modules under the top-level packages
        of model, inputs and variants, wherever they are.
        """
        located = [self.case.model, self.case.inputs, *self.case.variants.values()]
        tops = {location.partition(":")[0].partition(".")[0] for location in located}
        modules = dict(sys.modules)  # another thread may be importing
        tops |= {name for name in modules if "." not in name and not _foreign(modules[name])}
        return {
            name: file
            for name, module in modules.items()
            if name.partition(".")[0] in tops
            and os.path.isfile(file := getattr(module, "__file__", None) or "")
        }

    def _seed(self, purpose: str) -> int:
        """Return a seed for one purpose of this case. Unlike ``hash`` it is the same in all
        processes and Python versions.
        """
        key = json.dumps([self.seed, self.case.name, purpose]).encode()
        return zlib.crc32(key)
