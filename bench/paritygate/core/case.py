"""Case, Shape, Target, Cell: what is to be measured, as plain values. Imports no torch.

A case x a shape x a target is a cell, and the cell's id joins everything that is ever said about it::

    bert_mini - b8_s64 - cpu - compile - fp32
    case        shape    device backend  dtype       each field is [a-z0-9_]+, the dash stands only between
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
from paritygate.core.known_failures import EXAMPLE, Key, known_failure

__tracebackhide__ = True  # pytest then shows the line of the suite, and none of these

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
NUMBERS = {  # options of a Case that are numbers, and what one means
    "accuracy": "0.95 for 95 %",
    "tolerated": "0.1 for 10 %",
    "deadline": "60, in seconds",
    "graph_breaks": "0",
}


@dataclass(frozen=True)
class Shape:
    """Named sizes, e.g. ``Shape({"batch": 8, "seq": 128})``; the name is given by the case.

    ``timed=False`` marks a shape whose answers are checked and never timed. ``budget`` is the
    smallest budget that includes it (``quick`` takes the first timed shape of a case only, whatever
    this says).
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
    """Where and how a case runs: ``device-backend-dtype``, e.g. ``cpu-onnxruntime-fp32``."""

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
        """Whether the glob ``pattern`` names this target; one without a dash may name any one
        field.
        """
        if "-" in pattern:
            return fnmatchcase(str(self), pattern)
        return any(fnmatchcase(what, pattern) for what in (self.device, self.backend, self.dtype))


@dataclass(frozen=True, eq=False)
class Case:
    """A model with its inputs.

    Strings of the form ``"module:attribute"`` are resolved in the worker, so declaring costs
    nothing:

    - ``model``: called without arguments gives an ``nn.Module`` (a class or a function), or any
      other callable.
    - ``inputs``: called with ``(sizes, generator)`` gives the positional arguments as a tuple or
      the keyword arguments as a dict. Floating tensors are cast to the target's dtype by the
      harness.
    - ``mode``: what a call does. ``"inference"``; ``"backward"``: forward, and the gradients of
      inputs and parameters; ``"training"``: forward, backward and a step of the optimizer, where
      ``inputs`` gives ``(inputs, labels)``.
    - ``optimizer``: of a training case; called with the parameters gives a
      ``torch.optim.Optimizer``.
    - ``loss``: of a training case; called with (logits, labels) gives a scalar; cross-entropy
      unless given.
    - ``train_data``: of a training case; called with ``sizes`` gives the ``(inputs, labels)`` of every
      step of a whole training, after which ``accuracy`` of the samples of ``evaluate`` must be
      answered rightly.
    - ``variants``: backends of this case only, name -> string: called with the model gives another
      callable that takes the same inputs and must give the same answers, e.g. another
      implementation, or a compressed model. They come where eager is wanted; one with ``facts()``
      and ``close()`` is asked for facts and told when it is over.
    - ``preprocess``: called with the positional arguments that ``inputs`` gave (texts, say) gives
      the model's arguments; part of every timed call.
    - ``shapes``: name -> sizes, or name -> ``Shape``. ``parity_shapes`` are checked and never
      timed.
    - ``unit`` is what throughput counts; one call works on the product of the sizes named in
      ``count``.
    - ``targets``: globs; only targets that match one of them become cells.
    - ``skips``: glob -> reason; such cells are collected and skipped with the reason.
    - ``known_failures``: glob -> reason; a parity failure there is reported as expected, and so is its
      end. A key may name versions of packages, alone or behind the glob, and then holds for these
      only: ``"torch>=2.13"``, ``"cpu-compile-*; torch>=2.13,<2.15"``.
    - ``mask``: the name (or position) of the input that masks padding; ignoring it must be
      noticeable. Of outputs that have its dimensions only unmasked positions are compared.
    - ``output_mask``: called with the model's inputs gives a boolean tensor: which positions of the
      outputs that begin with its dimensions are compared; or a tuple of such and None, one for each
      output.
    - ``dynamic``: names of the sizes whose dimensions an export keeps dynamic; without it those in
      which shapes of the case differ, or with one shape the batch.
    - ``evaluate``: called without arguments gives ``(inputs, labels)``, real labelled samples; the
      accuracy of every backend is recorded and its top-1 answers must agree with eager's.
    - ``accuracy``: the smallest share of the samples of ``evaluate`` that must be answered rightly.
    - ``reference``: ``"float64"`` (default), or ``"eager"`` for a model that cannot run in float64.
    - ``tolerance``: the row of ``tolerances.csv`` to use instead of the dtype's own, e.g.
      ``"fp32_folded"``.
    - ``graph_breaks``: at how many places of the code ``torch.compile`` may break its graph; any
      other number fails.
    - ``nonfinite``: the reference answer may hold NaN or infinities; elsewhere that leaves it
      unchecked.
    - ``cold_cache``: an operator, not a model: where a device has a large cache of its own, every
      call is timed with that cache flushed, by the device's clock.
    - ``flops``: called with ``sizes`` gives the floating point operations of one call, instead of
      counting them.
    - ``soak``: after so many calls the cell must hold no more memory than after the first ones;
      none unless given.
    - ``preload``: modules that the fork server imports before its first fork.
    - ``deadline``: seconds a worker may take to open; without it the budget's.
    - ``tolerated``: the share by which the gate lets this case become slower, e.g. 0.1; without it
      the profile's.
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
    preload: Sequence[str] = ()
    deadline: float | None = None
    tolerated: float | None = None

    def __post_init__(self) -> None:
        _check_field("case", self.name)
        self._check_types()
        for what in LOCATIONS:
            location = getattr(self, what)
            if location is not None or what in ("model", "inputs"):
                _check_location(f"case {self.name}: {what}", location)
        self._check_mode()
        self._check_variants()
        if self.reference not in ("float64", "eager"):
            raise DeclarationError(
                f'case {self.name}: reference={self.reference!r} must be "float64" or "eager"'
            )
        self._check_known_failures()
        if not isinstance(self.soak, int) or self.soak < 0:
            raise DeclarationError(
                f"case {self.name}: soak={self.soak!r} must be a number of calls, e.g. 1000"
            )
        if self.tolerated is not None and not 0 <= self.tolerated < 10:
            raise DeclarationError(
                f"case {self.name}: tolerated={self.tolerated!r} must be a share, e.g. 0.1 for 10 %"
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
        """Every shape of the case: the timed ones in declared order, then those for parity only."""
        # all, since __post_init__
        return [shape for shape in self.shapes.values() if isinstance(shape, Shape)]

    def units(self, shape: Shape) -> int:
        """How many units one call works on."""
        product = 1
        for size in self.count:
            product *= shape.sizes[size]
        return product

    def locations(self) -> dict[str, str]:
        """Every ``"module:attribute"`` of the case, by the option that names it."""
        named = {what: getattr(self, what) for what in LOCATIONS if getattr(self, what) is not None}
        return named | {f"variants[{name!r}]": where for name, where in self.variants.items()}

    def reason(self, reasons: Mapping[str, str], target: Target) -> str | None:
        """The reason that ``skips`` gives for a target, or None."""
        return next((why for pattern, why in reasons.items() if target.matches(pattern)), None)

    def known_failure(self, target: Target) -> str | None:
        """The reason that ``known_failures`` gives for a target and the packages installed here, or
        None.
        """
        return known_failure(self.known_failures, target)

    def _check_known_failures(self) -> None:
        for key in self.known_failures:
            try:
                Key.read(key)
            except ValueError as error:
                raise DeclarationError(
                    f"case {self.name}: known_failures key {key!r}: {error}; {EXAMPLE}"
                ) from None

    def _check_types(self) -> None:
        """Tuples, dicts and numbers are such; the rest has words of its own."""
        where = f"case {self.name}"
        for option in ("count", "targets", "preload", "dynamic"):
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
        """Sizes are named by shapes that have them."""
        for size in self.dynamic or ():
            named = [
                sizes.sizes if isinstance(sizes, Shape) else sizes for sizes in self.shapes.values()
            ]
            if not any(size in sizes for sizes in named):
                raise DeclarationError(
                    f"case {self.name}: dynamic names {size!r}, which none of its shapes has"
                )

    def _check_mode(self) -> None:
        """What belongs to a mode is there, and nothing of another one."""
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
                f"case {self.name}: train_data= needs evaluate= and accuracy=, to be judged by"
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
            _check_location(f"case {self.name}: variants[{name!r}]", location)

    def as_dict(self) -> dict[str, Any]:
        """The case as plain data (JSON), for the worker; all shapes are alike there."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["shapes"] = {shape.name: dict(shape.sizes) for shape in self.all_shapes()}
        del plain["parity_shapes"]
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Case:
        """The case of ``as_dict``."""
        return cls(**plain)

    def sizes(self, shape: str) -> dict[str, int]:
        """The named sizes of a shape, timed or not."""
        return dict(next(known.sizes for known in self.all_shapes() if known.name == shape))


@dataclass(frozen=True)
class Group:
    """The cells of one case and shape on one device and dtype: measured interleaved, compared with
    eager.
    """

    case: str
    shape: str
    device: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.case}-{self.shape}-{self.device}-{self.dtype}"


@dataclass(frozen=True, eq=False)
class Cell:
    """A case at a shape on a target. Two cells are the same when their ids are."""

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
        """How many units one call works on."""
        return self.case.units(self.shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id


def cell_of(case: Case, shape: Shape, target: Target) -> Cell | None:
    """The cell, or None where the case does not want that target."""
    # variants go with eager
    plain = replace(target, backend="eager") if target.backend in case.variants else target
    wanted = any(plain.matches(pattern) for pattern in case.targets)
    return Cell(case, shape, target) if wanted else None


def cases_of(given: object) -> tuple[Case, ...]:
    """Return the cases of a suite. Raise ``DeclarationError`` for what is no tuple of them, with
    how to write one.
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


def _check_location(what: str, given: object) -> None:
    if isinstance(given, str) and LOCATION.fullmatch(given):
        return
    itself = f"{getattr(given, '__module__', '')}:{getattr(given, '__qualname__', '')}"
    # a class or a function that is given itself would have to be imported to be declared
    so = f'; write {what.rpartition(": ")[2]}="{itself}"' if LOCATION.fullmatch(itself) else ""
    raise DeclarationError(f'{what}={given!r} must look like "package.module:attribute"{so}')


def _check_field(what: str, value: str) -> None:
    if not isinstance(value, str) or not FIELD.fullmatch(value):
        raise DeclarationError(
            f"{what} {value!r}: a field of a cell's id is made of a-z, 0-9 and _, "
            "because ids join history and the dash separates their fields"
        )
