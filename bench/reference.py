"""The reference worker: makes inputs, weights, eager and float64 answers, and missing artefacts of one group.

One for each case, shape, device and dtype; forked first, gone before anything is timed. Whatever it leaves is
in the group's scratch folder; a stage that fails is named, and later stages that can do without it still run.
"""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Callable
from typing import Any

import torch

from bench import facts, parity
from bench.backends import Unavailable
from bench.errors import status_of
from bench.record import Status
from bench.scratch import Scratch
from bench.subject import (
    CHECKED_ROWS,
    CHECKED_SETS,
    Inputs,
    Subject,
    WrongDeclaration,
    arrays,
    call,
    flatten,
    rebuild,
    resolve,
    tensors,
)

Say = Callable[[str], object]


def make(subject: Subject, backends: dict[str, str], say: Say, given: Scratch | None = None) -> dict[str, Any]:
    """Everything the group's cell workers load. ``backends``: name -> module of those that have an ``artefact``.

    ``given``: the folder of another revision's reference, whose inputs and weights are taken over, so that both
    revisions work on the same. Weights that do not fit are left, and ``weights`` says why.

    Returns plain data: ``facts``, ``unchecked`` (why there is no reference, or ""), ``artefacts`` (backend ->
    facts, or the error that its cells get), ``sources`` (module -> file, of the case's own packages). Raises what
    the model raises when built or run in eager: then there is nothing that any backend could be compared with.
    """
    say("importing and building the model")
    module = subject.build()
    foreign = "" if given is None else _take_weights(given, module)
    say("making inputs")
    first = subject.make_inputs(0) if given is None else given.load("inputs")[0]
    say("running eager")
    with torch.inference_mode():
        eager = [tensors(call(module, first))]
    say("making inputs")
    sets = _input_sets(subject, first, _rows(eager[0])) if given is None else given.load("inputs")
    say("running eager")
    with torch.inference_mode():
        eager += [tensors(call(module, inputs)) for inputs in sets[1:]]
        again = [tensors(call(module, inputs)) for inputs in sets[:CHECKED_SETS]]
    if not eager[0]:
        raise WrongDeclaration(f'model "{subject.case["model"]}" answers with no tensor: there is nothing to compare')
    say("keeping inputs and weights")
    meta = {
        "weights": subject.scratch.save_weights(_tensors_of(module)),
        "dtypes": [str(t.dtype) for t in eager[0]],
    }
    subject.scratch.save("inputs", sets)
    subject.scratch.save("meta", meta)
    subject.scratch.save_answers("eager", [arrays(outputs) for outputs in eager])
    unchecked = _disagrees_with_itself(eager, again) or _not_finite(subject, eager, "eager")
    if subject.case["evaluate"]:
        say("answering labelled samples in eager")
        _evaluate(subject, module)
    if subject.case["reference"] == "float64" and not unchecked:
        say("computing the float64 reference")
        unchecked = _float64(subject, module, sets)
        unchecked = unchecked or _too_coarse(subject)
    found: dict[str, Any] = {}
    if subject.case["mask"] is not None and not unchecked:
        say("ignoring the mask on purpose")
        found = _mask_sensitivity(subject, module, sets)
        unchecked = found.pop("insensitive", "")
    found |= _facts(module, sets)  # last: watching operators can spoil dynamo's caches, which eager flex uses
    del module, eager, again
    artefacts = {}
    for name, location in backends.items() if not unchecked else ():
        say(f"making what {name} needs")
        artefacts[name] = _artefact(subject, name, location)
    return {"facts": found, "unchecked": unchecked, "artefacts": artefacts, "sets": len(sets), "weights": foreign,
            "sources": subject.sources()}  # fmt: skip


def _take_weights(given: Scratch, module: torch.nn.Module) -> str:
    """Load another revision's weights; why they do not fit, or ""."""
    own = copy.deepcopy(module.state_dict())
    try:
        given.load_weights(module)
    except ValueError as error:
        module.load_state_dict(own)  # whole, not half of either
        return str(error)
    return ""


def _tensors_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in module.state_dict().items() if torch.is_tensor(value)}


def _rows(outputs: list[torch.Tensor]) -> int:
    """How many vectors the smallest output of one call holds."""
    return max(1, min((t[..., 0].numel() if t.ndim else 1 for t in outputs), default=1))


def _input_sets(subject: Subject, first: Inputs, rows: int) -> list[Inputs]:
    """At least four input sets, with at least 32 rows of output in sum, all of one layout."""
    count = max(CHECKED_SETS, math.ceil(CHECKED_ROWS / rows))
    sets = [first, *(subject.make_inputs(number) for number in range(1, count))]
    layout = _layout(first)
    for number, inputs in enumerate(sets):
        if (other := _layout(inputs)) != layout:
            raise WrongDeclaration(
                f'inputs "{subject.case["inputs"]}" must agree in dtype, shape, stride and plain values from one '
                f"input set to the next, or every call recompiles: set 0 has {layout}, set {number} has {other}"
            )
    return sets


def _layout(inputs: Inputs) -> list[Any]:
    names = list(inputs) if isinstance(inputs, dict) else []
    return names + [
        [str(leaf.dtype), list(leaf.shape), list(leaf.stride())] if torch.is_tensor(leaf) else repr(leaf)
        for leaf in flatten(inputs)
    ]


def _facts(module: torch.nn.Module, sets: list[Inputs]) -> dict[str, Any]:
    with torch.inference_mode():
        return {
            "parameters": facts.parameters(module),
            "flops": facts.flops(lambda: call(module, sets[0])),
            "graph_hash": facts.graph_hash(lambda: call(module, sets[0])),
            "checked_sets": len(sets),
        }


def _disagrees_with_itself(eager: list[list[torch.Tensor]], again: list[list[torch.Tensor]]) -> str:
    """Why eager's two answers differ, or "". A model that does not agree with itself agrees with nothing."""
    for number, (one, two) in enumerate(zip(eager, again, strict=False)):
        for output, (a, b) in enumerate(zip(one, two, strict=True)):
            if a.shape != b.shape or not torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)):
                off = (a.double() - b.double()).abs().max().item() if a.shape == b.shape else math.inf
                return (
                    f"eager does not agree with itself: input set {number}, output {output} differs by {off:.3g} "
                    "between two calls (dropout left on, or a random operator?)"
                )
    return ""


def _not_finite(subject: Subject, answers: list[list[torch.Tensor]], name: str) -> str:
    if subject.case["nonfinite"]:
        return ""
    for number, outputs in enumerate(answers):
        for output, t in enumerate(outputs):
            bad = int((~torch.isfinite(t)).sum()) if t.is_floating_point() else 0
            if bad:
                return (
                    f"reference not finite: {bad} of {t.numel()} elements of output {output} are NaN or infinite "
                    f"in {name} (input set {number}); if that is right, declare Case(nonfinite=True)"
                )
    return ""


def _float64(subject: Subject, module: torch.nn.Module, sets: list[Inputs]) -> str:
    """Keep float64 answers of the weights and inputs as rounded to the target's dtype; or say why there are none."""
    try:
        exact = copy.deepcopy(module).double()
        with torch.inference_mode():
            answers = [tensors(call(exact, _double(inputs))) for inputs in sets]
    except Exception as error:
        status, reason = status_of(error)
        if status is Status.OUT_OF_MEMORY:
            return f"the float64 reference ran out of memory ({reason})"
        return f'no float64 reference ({reason}); a model that cannot run in float64 declares reference="eager"'
    for outputs in answers:
        for output, t in enumerate(outputs):
            if t.is_floating_point() and t.dtype != torch.float64:
                return (
                    f"the float64 reference gave {t.dtype} in output {output}: the model casts by itself; "
                    'declare reference="eager"'
                )
    problem = _not_finite(subject, answers, "float64")
    if not problem:
        subject.scratch.save_answers("reference", [[t.numpy() for t in outputs] for outputs in answers])
    return problem


def _too_coarse(subject: Subject) -> str:
    """Why eager itself would fail the check, or "": a cap below its own error says nothing about others."""
    eager = subject.scratch.load_answers("eager")
    assert eager is not None
    tolerance = parity.tolerances()[subject.case["tolerance"] or subject.dtype_name]
    outcome = parity.compare(eager, eager, subject.scratch.load_answers("reference"), tolerance)
    return "" if outcome.agrees else f"eager itself is too far from float64: {outcome.explain()}"


def _double(inputs: Inputs) -> Inputs:
    leaves = [t.double() if torch.is_tensor(t) and t.is_floating_point() else t for t in flatten(inputs)]
    return rebuild(inputs, leaves)


def _mask_sensitivity(subject: Subject, module: torch.nn.Module, sets: list[Inputs]) -> dict[str, Any]:
    """How far off the answer is with the mask ignored; "insensitive" where the check could not see that."""
    mask = subject.case["mask"]
    ignoring: list[Inputs] = []
    for inputs in sets:
        changed: dict[Any, Any] = dict(inputs) if isinstance(inputs, dict) else dict(enumerate(inputs))
        if mask not in changed:
            raise WrongDeclaration(f"case {subject.case['name']}: mask={mask!r} is no input; inputs: {list(changed)}")
        changed[mask] = torch.ones_like(changed[mask])
        ignoring.append(changed if isinstance(inputs, dict) else tuple(changed.values()))
    with torch.inference_mode():
        answers = [arrays(tensors(call(module, inputs))) for inputs in ignoring]
    eager = subject.scratch.load_answers("eager")
    assert eager is not None
    tolerance = parity.tolerances()[subject.case["tolerance"] or subject.dtype_name]
    outcome = parity.compare(answers, eager, subject.scratch.load_answers("reference"), tolerance)
    found: dict[str, Any] = {"mask_sensitivity": outcome.error}
    if outcome.error <= 3 * outcome.allowed:
        found["insensitive"] = (
            f"insensitive: with the mask ignored the error is {outcome.error:.2g}, too close to the allowed "
            f"{outcome.allowed:.2g} to be noticed; use weights of a larger spread"
        )
    return found


def _evaluate(subject: Subject, module: torch.nn.Module) -> None:
    inputs, labels = resolve(subject.case["evaluate"])()
    inputs = subject.cast(inputs)
    with torch.inference_mode():
        answers = arrays(tensors(call(module, inputs)))
    subject.scratch.save("evaluate", {"inputs": inputs, "labels": torch.as_tensor(labels)})
    subject.scratch.save_answers("evaluate", [answers])


def _artefact(subject: Subject, name: str, location: str) -> dict[str, Any]:
    try:
        made = importlib.import_module(location).artefact(subject)
    except Exception as error:
        import traceback

        first: BaseException = error
        while first.__cause__ is not None:  # exporters wrap what went wrong into what to do about it
            first = first.__cause__
        status, reason = status_of(first)
        what = reason if isinstance(error, Unavailable) else f"{name} export: {reason}"
        return {"failure": {"status": str(status), "reason": what, "trace": traceback.format_exc()[-2000:]}}
    subject.scratch.save_artefact(name, made)
    return {"cold": made.get("cold", False), "seconds": made.get("seconds")}
