"""The reference worker: makes inputs, weights, eager and float64 answers, and missing artefacts of
one group.

There is one for each case, shape, device and dtype. It is forked first, and ends before anything is
timed. Its results are files in the group's scratch folder. If a stage fails, its name is reported,
and later stages that do not need it still run.
"""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from paritygate.backends.contract import UnavailableError
from paritygate.parity import rule
from paritygate.process.protocol import Reference, Stage
from paritygate.runtime import facts
from paritygate.runtime.declared import WrongDeclarationError, error_note, inputs_note, resolve
from paritygate.runtime.modes import (
    CURVE,
    Backward,
    Inference,
    Mode,
    Training,
    answers,
    mode_of,
    reordered,
)
from paritygate.runtime.nest import DENSE, changed, flatten, form_of, fresh, named_leaves, value_of
from paritygate.runtime.scratch import Scratch
from paritygate.runtime.subject import (
    CHECKED_ROWS,
    CHECKED_SETS,
    KEPT_UNSEEN,
    TRAINED_SETS,
    UNSEEN,
    BoundCase,
    Inputs,
    arrays,
    built,
)
from paritygate.worker import check, exact, mutation, unusable
from paritygate.worker.calls import Calls, Say
from paritygate.worker.errors import failure_of
from paritygate.worker.first_look import Look, look
from paritygate.worker.masks import masks

# with the mask ignored the error must be over this many times the allowed one, or the check is blind
SENSITIVE = 3.0
# of eager's calls: slow models are checked on fewer input sets, but at least on four
CHECK_SECONDS = 8.0


def make(
    subject: BoundCase,
    backends: dict[str, str],
    say: Say,
    given: Scratch | None = None,
    mutate: bool = False,
) -> Reference:
    """Make everything that the group's cell workers load. ``backends``: name -> module of those
    with an ``artefact``.

    ``given``: the folder of another revision's reference. Its inputs and weights are used, so that
    both revisions work on the same. Weights that do not fit are not used, and ``weights`` says why.
    ``mutate``: measure which weights the check would notice, once a case.

    Raises what the model raises when it is built or run in eager: there is then nothing to compare
    any backend with.
    """
    say(Stage.BUILDING)
    module = subject.build()
    say(Stage.MAKING_INPUTS)
    first = subject.make_inputs(0) if given is None else given.load("inputs")[0]
    given_first = fresh(first)
    encoded = subject.encode(given_first)
    consumed = changed(first, given_first)
    subject.materialise(module, encoded)
    foreign = "" if given is None else _take_weights(given, module)
    say(Stage.KEEPING)
    weights = subject.scratch.save_weights(_tensors_of(module))  # as they are before the first call
    subject.scratch.save("built", built(module) if isinstance(module, torch.nn.Module) else {})
    calls = Calls(say)
    calls.begin(Stage.RUNNING_EAGER, 2)
    mode = mode_of(subject, module)
    with inputs_note(subject.case.inputs, encoded):
        seen = look(mode, module, encoded, lambda: subject.encode(subject.make_inputs(1)))
    calls.made, calls.seconds = 2, seen.seconds
    if not seen.answer:
        raise WrongDeclarationError(
            f'model "{subject.case.model}" answers with no tensor: there is nothing to compare'
        )
    say(Stage.MAKING_INPUTS)
    count = _enough(mode, seen)
    raw = (
        [first, *(subject.make_inputs(n) for n in range(1, count))]
        if given is None
        else given.load("inputs")
    )
    sets = [subject.encode(fresh(inputs) if subject.case.preprocess else inputs) for inputs in raw]
    if isinstance(module, torch.nn.Module):
        _require_one_layout(subject, sets)
    subject.scratch.save("inputs", raw)
    unseen = (
        [subject.make_inputs(UNSEEN + number) for number in range(KEPT_UNSEEN)]
        if given is None
        else given.load("unseen")
    )
    subject.scratch.save("unseen", unseen)
    subject.scratch.save(
        "meta",
        {
            "weights": weights,
            "dtypes": [str(t.dtype) for t in seen.answer],
            "seconds": seen.seconds,
            "state": seen.remembered,
            "written": seen.written,
            "consumed": consumed,
        },
    )
    calls.begin(Stage.RUNNING_EAGER, 2 * len(sets) - 2)
    eager = [seen.answer, *answers(mode, sets[1:], calls.done)]
    again = [seen.again, *answers(mode, sets[1:CHECKED_SETS], calls.done)]
    kept = [arrays(outputs) for outputs in eager]
    subject.scratch.save_answers("eager", kept)
    compared = masks(subject, sets, eager[0], partial(_answer, mode))
    if compared is not None:
        subject.scratch.save("masks", compared)
    # On a GPU the order of atomic sums varies; on a CPU the same call gives the same bits.
    slack = subject.tolerance.floor if subject.device != "cpu" else 0.0
    off = unusable.self_error(eager, again)
    unchecked = unusable.disagrees_with_itself(off, slack, seen) or unusable.not_finite(
        subject, kept, "eager"
    )
    unchecked = unchecked or unusable.nothing(eager)
    found: dict[str, Any] = seen.facts() | ({"writes_inputs": consumed} if consumed else {})
    if subject.case.evaluate:
        say(Stage.EAGER_SAMPLES)
        _evaluate(subject, mode)
    if subject.case.reference == "float64" and not unchecked:
        calls.begin(Stage.FLOAT64, len(sets), times=4.0)
        unchecked, promoted = exact.float64(subject, module, sets, calls.done)
        found |= promoted
        exactly = subject.scratch.load_answers("reference") or []
        unchecked = (
            unchecked
            or unusable.not_finite(subject, exactly, "float64", kept)
            or unusable.too_coarse(subject, kept, seen)
        )
    if isinstance(mode, Training) and not unchecked:
        calls.begin(Stage.TRAINING_TWIN, 2 * CURVE)
        unchecked = _curves(subject, mode, sets, calls.done)
    if subject.case.mask is not None and not unchecked:
        calls.begin(Stage.IGNORING_MASK, len(sets))
        found |= _mask_sensitivity(subject, mode, sets)
        unchecked = found.pop("insensitive", "")
    if mutate and not unchecked and mutation.measurable(subject, module):
        calls.begin(Stage.PERTURBING, sum(1 for _ in module.parameters()), times=4.0)
        found["mutation"] = mutation.score(subject, module, sets, calls.done)
    if off[0]:
        found["eager_varies"] = off[0]
    # last: watching operators can disturb dynamo's caches, which eager flex attention uses
    found |= _facts(subject, module, mode, sets, eager[0])
    del module, mode, eager, again
    artefacts = {}
    for name, location in backends.items() if not unchecked else ():
        calls.begin(Stage.MAKING_ARTEFACT, 10, detail=name)
        artefacts[name] = _artefact(subject, name, location)
    return Reference(found, unchecked, artefacts, subject.sources(), weights=foreign)


def _answer(mode: Mode, inputs: Inputs) -> list[torch.Tensor]:
    return answers(mode, [inputs])[0]


def _take_weights(given: Scratch, module: torch.nn.Module) -> str:
    """Load another revision's weights. Return why they do not fit, or ""."""
    own = copy.deepcopy(module.state_dict())
    try:
        given.load_weights(module)
    except ValueError as error:
        module.load_state_dict(own)  # undo a partial load
        return str(error)
    return ""


def _tensors_of(module: Any) -> dict[str, torch.Tensor]:
    if not isinstance(module, torch.nn.Module):
        return {}
    return {name: value for name, value in module.state_dict().items() if torch.is_tensor(value)}


def _rows(outputs: list[torch.Tensor]) -> int:
    """Return the number of vectors in the smallest output of one call. Outputs without an element
    are ignored.
    """
    return max(
        1, min((t.numel() // t.shape[-1] if t.ndim else 1 for t in outputs if t.numel()), default=1)
    )


def _enough(mode: Mode, seen: Look) -> int:
    """Return the number of input sets to check: enough for at least 32 rows in sum, fewer for a
    slow model.
    """
    if isinstance(mode, Training):
        return TRAINED_SETS
    rows = _rows(seen.answer) if isinstance(mode, Inference | Backward) else CHECKED_ROWS
    wanted = max(CHECKED_SETS, math.ceil(CHECKED_ROWS / rows))
    return max(CHECKED_SETS, min(wanted, int(CHECK_SECONDS / max(seen.seconds, 1e-9))))


def _require_one_layout(subject: BoundCase, sets: list[Inputs]) -> None:
    layout = _layout(sets[0])
    for number, inputs in enumerate(sets):
        if (other := _layout(inputs)) != layout:
            raise WrongDeclarationError(
                f'inputs "{subject.case.inputs}" must agree in dtype, shape, stride and plain values from one '
                f"input set to the next, or every call recompiles: set 0 has {layout}, set {number} has {other}"
            )


def _layout(inputs: Inputs) -> list[Any]:
    names = list(inputs) if isinstance(inputs, dict) else []
    return names + [
        [path, *(_of_tensor(leaf) if torch.is_tensor(leaf) else [_of_other(leaf)])]
        for path, leaf in named_leaves(inputs)
    ]


def _of_tensor(leaf: torch.Tensor) -> list[Any]:
    if leaf.is_nested:  # the lengths of its parts differ from set to set
        return [str(leaf.dtype), f"{leaf.dim()} dimensions, nested", leaf.size(0)]
    form = form_of(leaf)
    return [str(leaf.dtype), list(leaf.shape), list(leaf.stride()) if form == DENSE else form]


def _of_other(leaf: Any) -> str:
    return f"{leaf.dtype} array {leaf.shape}" if isinstance(leaf, np.ndarray) else value_of(leaf)


def _facts(
    subject: BoundCase, module: Any, mode: Mode, sets: list[Inputs], answer: list[torch.Tensor]
) -> dict[str, Any]:
    """Return the facts of a call before anything is timed. The case's own ``flops`` replace the
    counted ones.
    """
    found: dict[str, Any] = {"checked_sets": len(sets)}
    if isinstance(module, torch.nn.Module):
        fed = mode.to_inputs(sets[0])
        with mode.context():
            found |= {
                **facts.other_mode(module, training=isinstance(mode, Training)),
                "parameters": facts.parameters(module),
                "flops": facts.flops(lambda: mode(fed)),
                "bytes": facts.min_bytes_moved(module, flatten(sets[0]), answer),
                "graph_hash": facts.graph_hash(lambda: mode(fed)),
            }
    if location := subject.case.flops:
        if (counted := found.get("flops")) is not None:
            found["flops_counted"] = counted
        with error_note("flops", location):
            made = resolve(location)(subject.sizes)
        try:
            found["flops"] = int(made)
        except (TypeError, ValueError):
            raise WrongDeclarationError(
                f'flops "{location}" returned a {type(made).__name__}; it must return a number'
            ) from None
    return found


def _curves(
    subject: BoundCase, mode: Training, sets: list[Inputs], done: Callable[[], object]
) -> str:
    """Save the losses of a short training in eager. Return why they are too far from float64 to
    judge others, or "".

    A twin trains on the same batches with their rows reversed. If its losses are farther from
    float64, they are saved as eager's: a single training does not show how far rounding alone can
    lead it.
    """
    batch = subject.sizes.get("batch", 0)
    own, twin = (
        arrays(mode.loss_curve(those, done))
        for those in (sets, [reordered(inputs, batch) for inputs in sets])
    )
    exact = subject.scratch.load_answers("curve-reference")
    if exact is not None:
        far = [float(np.linalg.norm(curve[0] - exact[0][0])) for curve in (own, twin)]
        own = own if far[0] >= far[1] else twin
    subject.scratch.save_answers("curve-eager", [own])
    losses = None if exact is None else [exact[0][:1]]
    outcome = rule.compare([own[:1]], [own[:1]], losses, subject.tolerance)
    usable = outcome.agrees and not outcome.coarse
    return "" if usable else f"eager's own loss curve is too far from float64: {outcome.explain()}"


def _mask_sensitivity(subject: BoundCase, mode: Mode, sets: list[Inputs]) -> dict[str, Any]:
    """Return the error of the answer with the mask ignored. "insensitive" holds the reason if the
    check could not see that error.
    """
    mask = subject.case.mask
    ignoring: list[Inputs] = []
    for inputs in sets:
        changed: dict[Any, Any] = (
            dict(inputs) if isinstance(inputs, dict) else dict(enumerate(inputs))
        )
        if mask not in changed:
            raise WrongDeclarationError(
                f"case {subject.case.name}: mask={mask!r} is no input; inputs: {list(changed)}"
            )
        changed[mask] = torch.ones_like(changed[mask])
        ignoring.append(changed if isinstance(inputs, dict) else tuple(changed.values()))
    ignorant = [arrays(outputs) for outputs in answers(mode, ignoring)]
    outcome = check.compare(subject, ignorant, parts=False)
    if outcome.share <= SENSITIVE:
        outcome = check.compare(subject, ignorant)
    found: dict[str, Any] = {"mask_sensitivity": outcome.error}
    if outcome.share <= SENSITIVE:
        found["insensitive"] = (
            f"insensitive: with the mask ignored the error is {outcome.error:.2g}, too close to the allowed "
            f"{outcome.allowed:.2g} to be noticed; use weights of a larger spread"
        )
    return found


def _evaluate(subject: BoundCase, mode: Mode) -> None:
    location = subject.case.evaluate
    assert location is not None
    with error_note("evaluate", location):
        made = resolve(location)()
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise WrongDeclarationError(
            f'evaluate "{location}" returned a {type(made).__name__}; it must return (inputs, labels)'
        )
    inputs, labels = made
    inputs = subject.cast(inputs)
    subject.scratch.save("evaluate", {"inputs": inputs, "labels": torch.as_tensor(labels)})
    # a training answers with a loss; after it has learnt, it answers the samples
    if not isinstance(mode, Training):
        subject.scratch.save_answers(
            "evaluate", [arrays(outputs) for outputs in answers(mode, [inputs])]
        )


def _artefact(subject: BoundCase, name: str, location: str) -> dict[str, Any]:
    try:
        made = importlib.import_module(location).artefact(subject)
    except Exception as error:
        failure = failure_of(error)
        if not isinstance(error, UnavailableError):
            first: BaseException = error
            # exporters wrap the first error into advice
            while first.__cause__ is not None:
                first = first.__cause__
            cause = failure_of(first)
            failure |= {"reason": f"{name} export: {cause['reason']}", "status": cause["status"]}
        return {"failure": failure}
    subject.scratch.save_artefact(name, made)
    return {"cold": made.get("cold", False), "seconds": made.get("seconds")}
