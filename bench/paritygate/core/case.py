"""Case, Shape, Target, Cell: the things to measure, as plain values. Imports no torch.

A case x a shape x a target is a cell. The cell's id is the key of all its results::

    bert_mini - b8_s64 - cpu - compile - fp32
    case        shape    device backend  dtype       each field is [a-z0-9_]+, the dash only separates fields
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from paritygate.core.declaration import (
    DeclarationError,
    require_mapping,
    require_number,
    require_reasons,
    require_strings,
)
from paritygate.core.facts import FACTS
from paritygate.core.known_failures import EXAMPLE, Key, known_failure

__tracebackhide__ = True  # pytest then shows the line of the suite instead of these functions

FIELD = re.compile(r"[a-z0-9_]+")
LOCATIONS = (  # fields of a Case
    "model",
    "inputs",
    "evaluate",
    "optimizer",
    "loss",
    "train_data",
    "preprocess",
    "flops",
    "output_mask",
)
LOCATION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
DTYPES = ("fp32", "tf32", "fp16", "bf16", "amp_fp16", "amp_bf16")
MODES = ("inference", "backward", "training")
BUDGETS = ("quick", "normal", "long")
NUMBERS = {  # fields of a Case that are numbers, each with an example
    "accuracy": "0.95 for 95 %",
    "tolerated": "0.1 for 10 %",
    "memory": "0.05 for 5 %",
    "deadline": "60, in seconds",
    "graph_breaks": "0",
}


@dataclass(frozen=True)
class Shape:
    """Named sizes, e.g. ``Shape({"batch": 8, "seq": 128})``. The case gives the shape its name.

    ``timed=False`` marks a shape whose answers are checked but never timed. ``budget`` is the
    smallest budget that includes the shape. The quick budget includes only the first timed shape of
    a case, even if others say ``budget="quick"``.
    """

    sizes: Mapping[str, int]
    name: str = ""
    timed: bool = True
    budget: str = "quick"

    def __post_init__(self) -> None:
        if self.budget not in BUDGETS:
            raise DeclarationError(
                f"shape {self.name!r}: budget {self.budget!r} is none of {', '.join(BUDGETS)}"
            )
        require_mapping(f"shape {self.name!r}", "sizes", self.sizes, '{"batch": 8}')
        for key, size in self.sizes.items():
            if not isinstance(size, int) or size < 0:
                raise DeclarationError(
                    f"shape {self.name!r}: {key}={size!r} must be a whole number, 0 or more"
                )


@dataclass(frozen=True)
class Target:
    """The device, backend and dtype that a case runs with: ``device-backend-dtype``, e.g.
    ``cpu-onnxruntime-fp32``.
    """

    device: str
    backend: str
    dtype: str

    def __post_init__(self) -> None:
        for what in (self.device, self.backend, self.dtype):
            _check_field("target", what)
        if self.dtype not in DTYPES:
            raise DeclarationError(
                f"target {self}: dtype {self.dtype!r} is none of {', '.join(DTYPES)}"
            )

    def __str__(self) -> str:
        return f"{self.device}-{self.backend}-{self.dtype}"

    def matches(self, pattern: str) -> bool:
        """Return whether the glob ``pattern`` names this target. A pattern without a dash may match
        any single field.
        """
        if "-" in pattern:
            return fnmatchcase(str(self), pattern)
        return any(fnmatchcase(what, pattern) for what in (self.device, self.backend, self.dtype))


@dataclass(frozen=True, eq=False)
class Case:
    """A model with its inputs.

    Strings of the form ``"module:attribute"`` are resolved in the worker, so a declaration imports
    nothing. The fields are:

    - ``model``: called without arguments, returns an ``nn.Module`` or any other callable. It may be
      a class or a function.
    - ``inputs``: called with ``(sizes, generator)``, returns the positional arguments as a tuple or
      the keyword arguments as a dict. The harness casts floating tensors to the target's dtype.
    - ``mode``: the work of one call. ``"inference"`` runs the forward pass. ``"backward"`` runs the
      forward pass and computes the gradients of inputs and parameters. ``"training"`` runs forward,
      backward and an optimizer step; ``inputs`` then returns ``(inputs, labels)``.
    - ``optimizer``: for a training case. Called with the parameters, returns a
      ``torch.optim.Optimizer``.
    - ``loss``: for a training case. Called with (logits, labels), returns a scalar. The default is
      cross-entropy.
    - ``train_data``: for a training case. Called with ``sizes``, returns the ``(inputs, labels)``
      of every step of a whole training. After that training the share ``accuracy`` of the samples
      of ``evaluate`` must be answered correctly.
    - ``variants``: backends of this case only, name -> string. Called with the model, returns
      another callable that takes the same inputs and must give the same answers, e.g. another
      implementation or a compressed model. Variants run on the targets where eager is wanted. A
      variant may have ``facts()``, which is recorded, and ``close()``, which is called at the end.
    - ``preprocess``: called with the positional arguments from ``inputs`` (e.g. texts), returns the
      model's arguments. It is part of every timed call.
    - ``shapes``: name -> sizes, or name -> ``Shape``.
    - ``parity_shapes``: the same for shapes that are checked but never timed.
    - ``unit``, ``count``: throughput counts ``unit``. One call works on the product of the sizes
      named in ``count``.
    - ``targets``: globs. Only targets that match one of them become cells.
    - ``skips``: glob -> reason. Such cells are collected, and skipped with the reason.
    - ``known_failures``: glob -> reason. A parity failure there is reported as expected. A cell
      that passes is reported as fixed. A key may name versions of packages, alone or after the
      glob, and then applies to these only: ``"torch>=2.13"``, ``"cpu-compile-*; torch>=2.13"``.
    - ``mask``: the name (or position) of the input that masks padding. The check must notice a
      backend that ignores the mask. In outputs that have the mask's dimensions only unmasked
      positions are compared.
    - ``output_mask``: called with the model's inputs, returns a boolean tensor that selects the
      positions to compare, in outputs that begin with its dimensions. Or a tuple with a tensor or
      None for each output.
    - ``dynamic``: names of the sizes whose dimensions stay dynamic in an export. The default is the
      sizes in which the shapes of the case differ, or the batch if there is one shape.
    - ``evaluate``: called without arguments, returns ``(inputs, labels)``, real labelled samples.
      The accuracy of every backend is recorded, and its top-1 answers must agree with eager's.
    - ``accuracy``: the smallest share of the samples of ``evaluate`` that must be answered
      correctly.
    - ``reference``: ``"float64"`` (default), or ``"eager"`` for a model that cannot run in float64.
    - ``tolerance``: the row of ``tolerances.csv`` to use instead of the dtype's own, e.g.
      ``"fp32_folded"``.
    - ``graph_breaks``: the number of places at which ``torch.compile`` breaks its graph. Any other
      number fails.
    - ``nonfinite``: the reference answer may hold NaN or infinities. Without it such a cell is
      unchecked.
    - ``cold_cache``: the case is an operator, not a model. On a device that has a large cache every
      call is timed with that cache flushed, by the device's clock.
    - ``flops``: called with ``sizes``, returns the floating point operations of one call. Without
      it they are counted.
    - ``soak``: a number of calls. After them the cell must not hold more memory than after the
      first calls. 0 runs no such test.
    - ``depends``: patterns of the data files, relative to the project, that the model reads, e.g.
      ``("data/*.csv",)``. The gate then leaves the case out where none of them, and no code of it,
      has changed. The default is any data file.
    - ``keeps``: names of facts, e.g. ``("fused_attention", "fusions")``. The gate fails a cell in
      which one of them is another than in base.
    - ``preload``: modules that the fork server imports before its first fork.
    - ``deadline``: seconds that a worker may take to open. The default is the budget's.
    - ``tolerated``: the share by which this case may become slower before the gate fails it, e.g.
      0.1. The default is the gate profile's.
    - ``memory``: the share by which its peak memory may grow before the gate fails it, e.g. 0.05.
      The default is the gate profile's.
    """

    name: str
    model: str
    inputs: str
    shapes: Mapping[str, Mapping[str, int] | Shape]
    parity_shapes: Mapping[str, Mapping[str, int] | Shape] = field(default_factory=dict)
    unit: str = "sample"
    count: Sequence[str] = ("batch",)
    targets: Sequence[str] = ("*",)
    skips: Mapping[str, str] = field(default_factory=dict)
    known_failures: Mapping[str, str] = field(default_factory=dict)
    mask: str | int | None = None
    output_mask: str | None = None
    dynamic: Sequence[str] | None = None
    mode: str = "inference"
    optimizer: str | None = None
    loss: str | None = None
    train_data: str | None = None
    variants: Mapping[str, str] = field(default_factory=dict)
    preprocess: str | None = None
    evaluate: str | None = None
    accuracy: float | None = None
    reference: str = "float64"
    tolerance: str | None = None
    graph_breaks: int = 0
    nonfinite: bool = False
    cold_cache: bool = False
    flops: str | None = None
    soak: int = 0
    depends: Sequence[str] = ()
    keeps: Sequence[str] = ()
    preload: Sequence[str] = ()
    deadline: float | None = None
    tolerated: float | None = None
    memory: float | None = None

    def __post_init__(self) -> None:
        _check_field("case", self.name)
        self._check_types()
        for what in LOCATIONS:
            location = getattr(self, what)
            if location is not None or what in ("model", "inputs"):
                _check_location(f"case {self.name}", what, location)
        self._check_mode()
        self._check_variants()
        if self.reference not in ("float64", "eager"):
            raise DeclarationError(
                f'case {self.name}: reference={self.reference!r} must be "float64" or "eager"'
            )
        self._check_known_failures()
        self._check_keeps()
        if not isinstance(self.soak, int) or self.soak < 0:
            raise DeclarationError(
                f"case {self.name}: soak={self.soak!r} must be a number of calls, e.g. 1000"
            )
        for option in ("tolerated", "memory"):
            share = getattr(self, option)
            if share is not None and not 0 <= share < 10:
                raise DeclarationError(
                    f"case {self.name}: {option}={share!r} must be a share, e.g. 0.1 for 10 %"
                )
        named = {name: _named(sizes, name) for name, sizes in self.shapes.items()}
        named |= {
            name: replace(_named(sizes, name), timed=False)
            for name, sizes in self.parity_shapes.items()
        }
        if not any(shape.timed for shape in named.values()):
            raise DeclarationError(
                f'case {self.name}: shapes is empty; give at least one, e.g. {{"b1": {{"batch": 1}}}}'
            )
        for shape in named.values():
            _check_field(f"case {self.name}: shape", shape.name)
            for size in self.count:
                if size not in shape.sizes:
                    raise DeclarationError(
                        f"case {self.name}: count names {size!r}, which shape "
                        f"{shape.name} lacks (it has {', '.join(shape.sizes) or 'none'})"
                    )
        self._check_dynamic()
        object.__setattr__(self, "shapes", named)

    def all_shapes(self) -> list[Shape]:
        """Return every shape of the case: the timed ones in declared order, then those for parity
        only.
        """
        # __post_init__ has made every entry a Shape; the filter is for the type checker
        return [shape for shape in self.shapes.values() if isinstance(shape, Shape)]

    def units(self, shape: Shape) -> int:
        """Return the number of units that one call works on."""
        product = 1
        for size in self.count:
            product *= shape.sizes[size]
        return product

    def locations(self) -> dict[str, str]:
        """Return every ``"module:attribute"`` of the case, by the field that names it."""
        named = {what: getattr(self, what) for what in LOCATIONS if getattr(self, what) is not None}
        return named | {f"variants[{name!r}]": where for name, where in self.variants.items()}

    def reason(self, reasons: Mapping[str, str], target: Target) -> str | None:
        """Return the reason that ``reasons`` (``skips``) gives for a target, or None."""
        return next((why for pattern, why in reasons.items() if target.matches(pattern)), None)

    def known_failure(self, target: Target) -> str | None:
        """Return the reason that ``known_failures`` gives for a target with the installed packages,
        or None.
        """
        return known_failure(self.known_failures, target.matches)

    def _check_keeps(self) -> None:
        for name in self.keeps:
            if name not in FACTS:
                raise DeclarationError(
                    f"case {self.name}: keeps names {name!r}, which is none of {', '.join(FACTS)}"
                )

    def _check_known_failures(self) -> None:
        for key in self.known_failures:
            try:
                Key.read(key)
            except ValueError as error:
                raise DeclarationError(
                    f"case {self.name}: known_failures key {key!r}: {error}; {EXAMPLE}"
                ) from None

    def _check_types(self) -> None:
        """Check that tuples, dicts and numbers are such. Other fields have their own checks."""
        where = f"case {self.name}"
        for option in ("count", "targets", "depends", "keeps", "preload", "dynamic"):
            if (given := getattr(self, option)) is not None:
                require_strings(where, option, given)
        require_mapping(where, "shapes", self.shapes, '{"b8": {"batch": 8}}')
        require_mapping(where, "parity_shapes", self.parity_shapes, '{"b3": {"batch": 3}}')
        require_mapping(where, "variants", self.variants, '{"fused": "my_model:fused"}')
        for option in ("skips", "known_failures"):
            reasons = getattr(self, option)
            require_mapping(where, option, reasons, '{"*-onnxruntime-*": "why"}')
            require_reasons(where, option, reasons)
        for option, example in NUMBERS.items():
            if (given := getattr(self, option)) is not None:
                require_number(where, option, given, example)

    def _check_dynamic(self) -> None:
        """Check that every size in ``dynamic`` is a size of some shape."""
        for size in self.dynamic or ():
            named = [
                sizes.sizes if isinstance(sizes, Shape) else sizes for sizes in self.shapes.values()
            ]
            if not any(size in sizes for sizes in named):
                raise DeclarationError(
                    f"case {self.name}: dynamic names {size!r}, which none of its shapes has"
                )

    def _check_mode(self) -> None:
        """Check that the fields that the mode needs are set, and those of other modes are not."""
        if self.mode not in MODES:
            raise DeclarationError(
                f"case {self.name}: mode={self.mode!r} is none of {', '.join(MODES)}"
            )
        training = self.mode == "training"
        if training != (self.optimizer is not None):
            raise DeclarationError(f'case {self.name}: mode="training" and optimizer= go together')
        for what in ("loss", "train_data"):
            if getattr(self, what) is not None and not training:
                raise DeclarationError(f'case {self.name}: {what}= is for mode="training" only')
        if self.train_data is not None and (self.evaluate is None or self.accuracy is None):
            raise DeclarationError(
                f"case {self.name}: train_data= needs evaluate= and accuracy=, which judge the trained model"
            )
        if self.accuracy is not None and (self.evaluate is None or not 0 <= self.accuracy <= 1):
            raise DeclarationError(
                f"case {self.name}: accuracy={self.accuracy!r} must be a share, 0 to 1"
            )
        if self.evaluate is not None and (self.preprocess is not None or self.mode == "backward"):
            raise DeclarationError(
                f'case {self.name}: evaluate= goes with neither preprocess= nor mode="backward"'
            )
        masked = self.mask is not None or self.output_mask is not None
        if self.mode != "inference" and (masked or self.preprocess is not None or self.variants):
            raise DeclarationError(
                f'case {self.name}: mask=, output_mask=, preprocess= and variants= are for mode="inference" only'
            )

    def _check_variants(self) -> None:
        for name, location in self.variants.items():
            _check_field(f"case {self.name}: variant", name)
            _check_location(f"case {self.name}", f"variants[{name!r}]", location)

    def as_dict(self) -> dict[str, Any]:
        """Return the case as plain data (JSON), for the worker. Timed and untimed shapes are alike
        there.
        """
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["shapes"] = {shape.name: dict(shape.sizes) for shape in self.all_shapes()}
        del plain["parity_shapes"]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Case:
        """Return the case that ``as_dict`` made plain data of, without its known failures. No worker
        needs them, and the interpreter of one may lack the package that reads versions.
        """
        return cls(**{**plain, "known_failures": {}})

    def sizes(self, shape: str) -> dict[str, int]:
        """Return the named sizes of a shape, timed or not."""
        return dict(next(known.sizes for known in self.all_shapes() if known.name == shape))


@dataclass(frozen=True)
class Group:
    """The cells of one case and shape on one device and dtype. They are measured interleaved and
    compared with eager.
    """

    case: str
    shape: str
    device: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.case}-{self.shape}-{self.device}-{self.dtype}"


@dataclass(frozen=True, eq=False)
class Cell:
    """A case at a shape on a target. Two cells with the same id are equal."""

    case: Case
    shape: Shape
    target: Target

    @property
    def id(self) -> str:
        """The key of every comparison, and the pytest id: ``case-shape-device-backend-dtype``."""
        return f"{self.case.name}-{self.shape.name}-{self.target}"

    @property
    def group(self) -> Group:
        """The group this cell is measured in."""
        return Group(self.case.name, self.shape.name, self.target.device, self.target.dtype)

    @property
    def units(self) -> int:
        """The number of units that one call works on."""
        return self.case.units(self.shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id


def cell_of(case: Case, shape: Shape, target: Target) -> Cell | None:
    """Return the cell, or None where the case does not want that target."""
    # variants go with eager
    plain = replace(target, backend="eager") if target.backend in case.variants else target
    wanted = any(plain.matches(pattern) for pattern in case.targets)
    return Cell(case, shape, target) if wanted else None


def cases_of(given: object) -> tuple[Case, ...]:
    """Return the cases of a suite. Raises ``DeclarationError`` with an example if ``given`` is not a
    tuple of cases.
    """
    if isinstance(given, tuple | list) and given and all(isinstance(one, Case) for one in given):
        return tuple(given)
    what = f"a {type(given).__name__}"
    so = ""
    if isinstance(given, Case):
        what, so = "one Case", "; a tuple of one needs a comma: CASES = (Case(...),)"
    elif isinstance(given, Mapping):
        so = "; write tuple(CASES.values())"
    elif isinstance(given, tuple | list):
        place, wrong = next(
            ((place, one) for place, one in enumerate(given) if not isinstance(one, Case)),
            (0, None),
        )
        what = f"{wrong!r:.80} at place {place} of it" if given else "none: it is empty"
    elif isinstance(given, Iterable) and not isinstance(given, str):
        so = "; write tuple(CASES)"
    raise DeclarationError(f"CASES must be a tuple of Case, it was given {what}{so}")


def _named(sizes: Mapping[str, int] | Shape, name: str) -> Shape:
    return replace(sizes, name=name) if isinstance(sizes, Shape) else Shape(sizes, name)


def _check_location(where: str, option: str, given: object) -> None:
    if isinstance(given, str) and LOCATION.fullmatch(given):
        return
    itself = f"{getattr(given, '__module__', '')}:{getattr(given, '__qualname__', '')}"
    # an object instead of its name would make the suite import it
    so = f'; write {option}="{itself}"' if LOCATION.fullmatch(itself) else ""
    raise DeclarationError(
        f'{where}: {option}={given!r} must look like "package.module:attribute"{so}'
    )


def _check_field(what: str, value: str) -> None:
    if not isinstance(value, str) or not FIELD.fullmatch(value):
        raise DeclarationError(
            f"{what} {value!r}: a field of a cell's id may hold only a-z, 0-9 and _; "
            "the dash separates fields, and ids must stay the same from run to run"
        )
