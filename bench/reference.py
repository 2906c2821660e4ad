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

import numpy as np
import torch

from bench import facts, parity
from bench.backends import Unavailable
from bench.errors import status_of
from bench.modes import Backward, Inference, Mode, Training, answers, mode_of, reordered
from bench.record import Status
from bench.scratch import Scratch
from bench.subject import (
    CHECKED_ROWS,
    CHECKED_SETS,
    TRAINED_SETS,
    Inputs,
    Subject,
    WrongDeclaration,
    arrays,
    flatten,
    rebuild,
    resolve,
)

Say = Callable[[str], object]
TWINS = 4  # whose gradients are compared with those of the reference; a tie that is missed by all is told as a fault
ROUNDINGS = 4 * 2.0**-24  # by which their inputs are moved, relative: what a few layers make of one rounding


def make(subject: Subject, backends: dict[str, str], say: Say, given: Scratch | None = None) -> dict[str, Any]:
    """Everything the group's cell workers load. ``backends``: name -> module of those that have an ``artefact``.

    ``given``: the folder of another revision's reference, whose inputs and weights are taken over, so that both
    revisions work on the same. Weights that do not fit are left, and ``weights`` says why.

    Returns plain data: ``facts``, ``unchecked`` (why there is no reference, or ""), ``artefacts`` (backend ->
    facts, or the error that its cells get), ``sources`` (module -> file, all that are the user's). Raises what
    the model raises when built or run in eager: then there is nothing that any backend could be compared with.
    """
    say("importing and building the model")
    module = subject.build()
    foreign = "" if given is None else _take_weights(given, module)
    say("making inputs")
    first = subject.make_inputs(0) if given is None else given.load("inputs")[0]
    say("running eager")
    mode = mode_of(subject, module)
    eager = answers(mode, [subject.encode(first)])
    say("making inputs")
    raw = _input_sets(subject, first, _enough(mode, eager[0])) if given is None else given.load("inputs")
    sets = [subject.encode(inputs) for inputs in raw]
    if isinstance(module, torch.nn.Module):
        _require_one_layout(subject, sets)
    say("running eager")
    eager += answers(mode, sets[1:])
    again = answers(mode, sets[:CHECKED_SETS])
    if not eager[0]:
        raise WrongDeclaration(f'model "{subject.case["model"]}" answers with no tensor: there is nothing to compare')
    say("keeping inputs and weights")
    meta = {
        "weights": subject.scratch.save_weights(_tensors_of(module)),
        "dtypes": [str(t.dtype) for t in eager[0]],
    }
    subject.scratch.save("inputs", raw)
    subject.scratch.save("meta", meta)
    subject.scratch.save_answers("eager", [arrays(outputs) for outputs in eager])
    # On a GPU atomic sums come in any order; anywhere else the same call gives the same bits.
    slack = subject.tolerance.floor if subject.device != "cpu" else 0.0
    off = _self_error(eager, again)
    unchecked = _disagrees_with_itself(off, slack) or _not_finite(subject, eager, "eager")
    if subject.case["evaluate"]:
        say("answering labelled samples in eager")
        _evaluate(subject, mode)
    if subject.case["reference"] == "float64" and not unchecked:
        say("computing the float64 reference")
        unchecked = _float64(subject, module, sets)
        unchecked = unchecked or _too_coarse(subject)
    if isinstance(mode, Training) and not unchecked:
        say("training eager's twin")
        unchecked = _curves(subject, mode, sets)
    found: dict[str, Any] = {}
    if subject.case["mask"] is not None and not unchecked:
        say("ignoring the mask on purpose")
        found = _mask_sensitivity(subject, mode, sets)
        unchecked = found.pop("insensitive", "")
    if off[0]:
        found["eager_varies"] = off[0]
    # last: watching operators can spoil dynamo's caches, which eager flex uses
    found |= _facts(subject, module, mode, sets, eager[0])
    del module, mode, eager, again
    artefacts = {}
    for name, location in backends.items() if not unchecked else ():
        say(f"making what {name} needs")
        artefacts[name] = _artefact(subject, name, location)
    return {"facts": found, "unchecked": unchecked, "artefacts": artefacts, "weights": foreign,
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


def _tensors_of(module: Any) -> dict[str, torch.Tensor]:
    if not isinstance(module, torch.nn.Module):
        return {}
    return {name: value for name, value in module.state_dict().items() if torch.is_tensor(value)}


def _rows(outputs: list[torch.Tensor]) -> int:
    """How many vectors the smallest output of one call holds."""
    return max(1, min((t[..., 0].numel() if t.ndim else 1 for t in outputs), default=1))


def _enough(mode: Mode, outputs: list[torch.Tensor]) -> int:
    """How many input sets are checked: of a model's answers at least 32 rows in sum."""
    if isinstance(mode, Training):
        return TRAINED_SETS
    rows = _rows(outputs) if isinstance(mode, Inference | Backward) else CHECKED_ROWS
    return max(CHECKED_SETS, math.ceil(CHECKED_ROWS / rows))


def _input_sets(subject: Subject, first: Inputs, count: int) -> list[Inputs]:
    return [first, *(subject.make_inputs(number) for number in range(1, count))]


def _require_one_layout(subject: Subject, sets: list[Inputs]) -> None:
    layout = _layout(sets[0])
    for number, inputs in enumerate(sets):
        if (other := _layout(inputs)) != layout:
            raise WrongDeclaration(
                f'inputs "{subject.case["inputs"]}" must agree in dtype, shape, stride and plain values from one '
                f"input set to the next, or every call recompiles: set 0 has {layout}, set {number} has {other}"
            )


def _layout(inputs: Inputs) -> list[Any]:
    names = list(inputs) if isinstance(inputs, dict) else []
    return names + [
        [str(leaf.dtype), list(leaf.shape), list(leaf.stride())] if torch.is_tensor(leaf) else repr(leaf)
        for leaf in flatten(inputs)
    ]


def _facts(subject: Subject, module: Any, mode: Mode, sets: list[Inputs], answer: list[torch.Tensor]) -> dict[str, Any]:
    """What is known of a call before anything is timed; the case's own ``flops`` go before those that are counted."""
    found: dict[str, Any] = {"checked_sets": len(sets)}
    if isinstance(module, torch.nn.Module):
        fed = mode.feed(sets[0])
        with mode.guard():
            found |= {
                "parameters": facts.parameters(module),
                "flops": facts.flops(lambda: mode(fed)),
                "bytes": facts.traffic(module, flatten(sets[0]), answer),
                "graph_hash": facts.graph_hash(lambda: mode(fed)),
            }
    if location := subject.case["flops"]:
        if (counted := found.get("flops")) is not None:
            found["flops_counted"] = counted
        found["flops"] = int(resolve(location)(subject.sizes))
    return found


def _curves(subject: Subject, mode: Training, sets: list[Inputs]) -> str:
    """Keep the losses of a short training in eager; why they are too far from float64 to judge others by, or "".

    Eager's are those of the twin, the same batches with their rows reversed, where that is farther from float64: how
    far rounding alone can lead a training is not to be told from one of them.
    """
    batch = subject.sizes.get("batch", 0)
    own, twin = (arrays(mode.curve(those)) for those in (sets, [reordered(inputs, batch) for inputs in sets]))
    exact = subject.scratch.load_answers("curve-reference")
    if exact is not None:
        far = [float(np.linalg.norm(curve[0] - exact[0][0])) for curve in (own, twin)]
        own = own if far[0] >= far[1] else twin
    subject.scratch.save_answers("curve-eager", [own])
    outcome = parity.compare([own], [own], exact, subject.tolerance)
    return "" if outcome.agrees else f"eager's own loss curve is too far from float64: {outcome.explain()}"


def _self_error(eager: list[list[torch.Tensor]], again: list[list[torch.Tensor]]) -> tuple[float, str]:
    """How far eager's two answers are apart, as a norm over the answer's own, and where that is most."""
    worst = (0.0, "")
    for number, (one, two) in enumerate(zip(eager, again, strict=False)):
        for output, (a, b) in enumerate(zip(one, two, strict=True)):
            place = f"input set {number}, output {output}"
            if a.shape != b.shape:
                return math.inf, place
            finite = torch.nan_to_num(a), torch.nan_to_num(b)
            if not torch.equal(*finite):
                ours, theirs = (t.double() for t in finite)
                worst = max(worst, ((ours - theirs).norm().item() / max(ours.norm().item(), parity.TINY), place))
    return worst


def _disagrees_with_itself(off: tuple[float, str], slack: float) -> str:
    """Why eager's two answers differ, or "". A model that does not agree with itself agrees with nothing."""
    if off[0] <= slack:
        return ""
    return (
        f"eager does not agree with itself: {off[1]} differs by {off[0]:.3g} of its size between two calls (dropout "
        "left on, or a random operator?)"
    )


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
        mode = mode_of(subject, copy.deepcopy(module).double(), exact=True)
        found = answers(mode, [_double(inputs) for inputs in sets])
        if isinstance(mode, Training | Backward) and subject.dtype_name == "fp32":
            subject.scratch.save("jumps", _jumps(subject, mode, sets, found))
        if isinstance(mode, Training):
            subject.scratch.save_answers("curve-reference", [arrays(mode.curve([_double(inputs) for inputs in sets]))])
    except Exception as error:
        status, reason = status_of(error)
        if status is Status.OUT_OF_MEMORY:
            return f"the float64 reference ran out of memory ({reason})"
        return f'no float64 reference ({reason}); a model that cannot run in float64 declares reference="eager"'
    for outputs in found:
        for output, t in enumerate(outputs):
            if t.is_floating_point() and t.dtype != torch.float64:
                return (
                    f"the float64 reference gave {t.dtype} in output {output}: the model casts by itself; "
                    'declare reference="eager"'
                )
    problem = _not_finite(subject, found, "float64")
    if not problem:
        subject.scratch.save_answers("reference", [[t.numpy() for t in outputs] for outputs in found])
    return problem


def _jumps(subject: Subject, mode: Mode, sets: list[Inputs], exact: list[list[torch.Tensor]]) -> list[float]:
    """For every output how far rounding moves it, in float64: the farthest of some twins on inputs moved by a rounding.

    A gradient jumps where a relu or the largest of a pool is within rounding of the other side: there it has two
    values, and either is right. In half precision that happens everywhere, and is part of eager's own error.
    """
    reference = [arrays(outputs) for outputs in exact]
    farthest = [0.0] * len(exact[0])
    moves = any(torch.is_tensor(leaf) and leaf.is_floating_point() for inputs in sets for leaf in flatten(inputs))
    for number in range(TWINS if moves else 0):  # token ids have no roundings
        generator = torch.Generator().manual_seed(number)
        moved = answers(mode, [_moved(_double(inputs), generator) for inputs in sets])
        found = parity.distances([arrays(outputs) for outputs in moved], reference, subject.tolerance, subject.common)
        farthest = [max(pair) for pair in zip(farthest, found, strict=True)]
    return farthest


def _moved(inputs: Inputs, generator: torch.Generator) -> Inputs:
    """Inputs whose floating values are off by some roundings of float32."""
    leaves = [
        leaf * (1 + ROUNDINGS * torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype).to(leaf.device))
        if torch.is_tensor(leaf) and leaf.is_floating_point()
        else leaf
        for leaf in flatten(inputs)
    ]
    return rebuild(inputs, leaves)


def _too_coarse(subject: Subject) -> str:
    """Why eager itself would fail the check, or "": a cap below its own error says nothing about others."""
    eager = subject.scratch.load_answers("eager")
    assert eager is not None
    outcome = parity.compare(eager, eager, subject.scratch.load_answers("reference"), subject.tolerance, subject.common)
    return "" if outcome.agrees else f"eager itself is too far from float64: {outcome.explain()}"


def _double(inputs: Inputs) -> Inputs:
    leaves = [t.double() if torch.is_tensor(t) and t.is_floating_point() else t for t in flatten(inputs)]
    return rebuild(inputs, leaves)


def _mask_sensitivity(subject: Subject, mode: Mode, sets: list[Inputs]) -> dict[str, Any]:
    """How far off the answer is with the mask ignored; "insensitive" where the check could not see that."""
    mask = subject.case["mask"]
    ignoring: list[Inputs] = []
    for inputs in sets:
        changed: dict[Any, Any] = dict(inputs) if isinstance(inputs, dict) else dict(enumerate(inputs))
        if mask not in changed:
            raise WrongDeclaration(f"case {subject.case['name']}: mask={mask!r} is no input; inputs: {list(changed)}")
        changed[mask] = torch.ones_like(changed[mask])
        ignoring.append(changed if isinstance(inputs, dict) else tuple(changed.values()))
    ignorant = [arrays(outputs) for outputs in answers(mode, ignoring)]
    eager = subject.scratch.load_answers("eager")
    assert eager is not None
    outcome = parity.compare(ignorant, eager, subject.scratch.load_answers("reference"), subject.tolerance)
    found: dict[str, Any] = {"mask_sensitivity": outcome.error}
    if outcome.error <= 3 * outcome.allowed:
        found["insensitive"] = (
            f"insensitive: with the mask ignored the error is {outcome.error:.2g}, too close to the allowed "
            f"{outcome.allowed:.2g} to be noticed; use weights of a larger spread"
        )
    return found


def _evaluate(subject: Subject, mode: Mode) -> None:
    inputs, labels = resolve(subject.case["evaluate"])()
    inputs = subject.cast(inputs)
    subject.scratch.save("evaluate", {"inputs": inputs, "labels": torch.as_tensor(labels)})
    if not isinstance(mode, Training):  # which answers with a loss; what it has learnt answers samples
        subject.scratch.save_answers("evaluate", [arrays(outputs) for outputs in answers(mode, [inputs])])


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
