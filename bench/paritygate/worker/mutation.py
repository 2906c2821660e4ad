"""Mutation: find which of a model's weights the check would notice if they were wrong.

Each parameter in turn is rounded to bfloat16, or moved by 1e-3 if rounding changes nothing, in
float64. Then the parity rule judges the answers as if they were a backend's. With small random
weights whole layers may not reach the answer. Keys and queries are the main example, because their
attention is nearly uniform. For such weights *ok* says nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from paritygate.parity import rule
from paritygate.runtime.modes import Mode, answers, mode_of
from paritygate.runtime.nest import doubled
from paritygate.runtime.promoted import Promoted
from paritygate.runtime.subject import BoundCase, Inputs, arrays
from paritygate.worker import check
from paritygate.worker.exact import double_of

MOVED = 1e-3  # relative, of the largest element, where rounding to bfloat16 changes nothing
LEAST = 1e-10  # relative, of an answer in float64: a smaller move is no effect
NOTICED, UNNOTICED, INERT = "noticed", "unnoticed", "without effect"
# the options of a case that the score depends on
DECIDING = (
    "model",
    "inputs",
    "preprocess",
    "tolerance",
    "mask",
    "output_mask",
    "nonfinite",
)
NAMED = 10  # of the weights that go unnoticed


def measurable(subject: BoundCase, module: Any) -> bool:
    """Return whether the score is measured for this group: a case's first shape, in float32, of an
    inference model.

    In shorter dtypes the check cannot notice that a weight is rounded.
    """
    return (
        isinstance(module, torch.nn.Module)
        and subject.case.mode == "inference"
        and subject.case.reference == "float64"
        and subject.dtype_name == "fp32"
        and subject.shape == next(iter(subject.case.shapes))
        and bool(subject.tolerance.parts)
    )


def score(
    subject: BoundCase, module: torch.nn.Module, sets: Sequence[Inputs], done: Callable[[], object]
) -> dict[str, Any]:
    """Return how many parameters can change the answer, the share that was noticed, and the names
    of the others.

    The result is cached by content, because it costs a float64 call for each parameter.
    """
    kept = Path(subject.cache) / "mutation" / f"{_key(subject)}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    unnoticed, inert = list[str](), list[str]()
    double = double_of(subject, module)
    eager = subject.scratch.load_answers("eager")
    assert eager is not None
    dtypes = [array.dtype for array in eager[0]]
    mode = mode_of(subject, double, exact=True)
    names = [
        name
        for name, value in double.named_parameters()
        if value.is_floating_point() and value.numel()
    ]
    for name in names:
        outcome = _outcome(subject, double, name, mode, sets, dtypes)
        if outcome != NOTICED:
            (inert if outcome == INERT else unnoticed).append(name)
        done()
    able = len(names) - len(inert)
    found = {
        "weights": able,
        "noticed": 1 - len(unnoticed) / able if able else 1.0,
        "unnoticed": unnoticed[:NAMED],
        "without_effect": inert[:NAMED],
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(found))
    return found


def _outcome(
    subject: BoundCase,
    double: torch.nn.Module,
    name: str,
    mode: Mode,
    sets: Sequence[Inputs],
    dtypes: list[np.dtype[Any]],
) -> str:
    """Return the outcome with one parameter changed. Input sets are added one by one, until the
    rule notices.

    A parameter is without effect if the answer does not depend on it at all, such as a key's bias
    in attention.
    """
    weight = double.get_parameter(name)
    before = weight.detach().clone()
    with torch.no_grad():
        weight.copy_(_perturbed(before))
    try:
        with Promoted():
            changed: list[list[torch.Tensor]] = []
            for inputs in sets:
                changed += answers(mode, [doubled(inputs)])
                if not _agrees(subject, changed, dtypes):
                    return NOTICED
        return UNNOTICED if _moved(subject, changed) > LEAST else INERT
    finally:
        with torch.no_grad():
            weight.copy_(before)


def _moved(subject: BoundCase, changed: list[list[torch.Tensor]]) -> float:
    """Return the distance of the answers from those of the unchanged model, in the output that
    moved most.
    """
    exact = subject.scratch.load_answers("reference")
    assert exact is not None
    found = rule.distances([arrays(outputs) for outputs in changed], exact, subject.tolerance, None)
    return max((far for far in found if far == far), default=0.0)


def _perturbed(weight: torch.Tensor) -> torch.Tensor:
    rounded = weight.to(torch.bfloat16).to(weight.dtype)
    if not torch.equal(rounded, weight):
        return rounded
    moved = weight.clone(memory_format=torch.contiguous_format)
    flat = moved.view(-1)
    flat[flat.abs().argmax()] += MOVED * max(float(flat.abs().max()), 1.0)
    return moved


def _agrees(
    subject: BoundCase, changed: list[list[torch.Tensor]], dtypes: list[np.dtype[Any]]
) -> bool:
    """Return whether the rule accepts the float64 answers of a changed model as a backend's, cast
    to eager's dtypes.
    """
    ours = [
        [
            array.astype(dtype) if dtype.kind == "f" else array
            for array, dtype in zip(arrays(one), dtypes, strict=True)
        ]
        for one in changed
    ]
    return check.compare(subject, ours, slice(len(ours))).agrees


def _key(subject: BoundCase) -> str:
    content = {
        "case": [getattr(subject.case, name) for name in DECIDING],
        "source": subject.source_digest(),
        "weights": subject.scratch.load("meta")["weights"],
        "sizes": subject.sizes,
        "dtype": subject.dtype_name,
        "seed": subject.seed,
        "torch": torch.__version__,
        "rule": _rule(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


def _rule() -> str:
    """Return a digest of the code that decides: the parity rule, its table, and this file."""
    folder = Path(rule.__file__).parent
    files = sorted([*folder.glob("*.py"), *folder.glob("*.csv"), Path(__file__)])
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
