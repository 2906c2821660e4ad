"""Make ``reports/evidence/zoo_planted.csv``: faults planted in the candidate only, in thirty
architectures of the zoo.

    python -m bench.evidence.planted_zoo

The candidate is eager itself with one fault, in float32, so only the fault differs. ``effect`` is
the norm of the fault's change over the norm of eager's own error, both over the elements that
change. A fault of more than ten times eager's error must be found. Prints how many were found, by
size of effect.
"""

from __future__ import annotations

import csv
import math
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evidence import command_line
from paritygate.core.case import Case
from paritygate.parity import rule
from paritygate.runtime.modes import answers, mode_of
from paritygate.runtime.subject import BoundCase, arrays
from paritygate.worker import reference

OUT = Path("reports/evidence/zoo_planted.csv")
ARCHITECTURES = (
    "bert",
    "roberta",
    "albert",
    "distilbert",
    "electra",
    "deberta_v2",
    "mpnet",
    "modernbert",
    "gpt2",
    "gpt_neox",
    "opt",
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma2",
    "phi3",
    "mixtral",
    "olmoe",
    "mamba",
    "mamba2",
    "t5",
    "bart",
    "vit",
    "swin",
    "convnext",
    "clip",
    "whisper",
    "wav2vec2",
    "patchtst",
)
OFF = 1e-3  # relative error
# names of the projections to values
VALUES = (
    "v_proj",
    "value",
    "v",
    "v_lin",
    "value_proj",
    "c_attn",
    "query_key_value",
    "qkv",
)
FILL = -1e9
Sets = list[list[np.ndarray[Any, Any]]]
Nothing = None  # the architecture has no place for this fault


def main() -> None:
    """Plant every fault in every architecture."""
    parser = command_line.parser()
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("names", nargs="*", default=list(ARCHITECTURES))
    arguments = parser.parse_args()
    rows = [row for name in arguments.names for row in _planted(name)]
    with arguments.out.open("w", newline="") as file:
        file.write("# python -m bench.evidence.planted_zoo\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["architecture", "fault", "effect", "found", "share"])
        for name, fault, effect, detected, share in rows:
            writer.writerow([name, fault, f"{effect:.3g}", detected, f"{share:.3g}"])
    for low in range(-1, 6):
        within = [
            detected
            for _, _, effect, detected, _ in rows
            if low <= math.log10(max(effect, 0.1)) < low + 1
        ]
        if within:
            print(
                f"{10.0**low:>9g} to {10.0 ** (low + 1):g} times eager's error: {sum(within)} of {len(within)} found"
            )
    for name, fault, effect, detected, share in rows:
        if effect > 10 and not detected:
            print(f"missed: {fault} in {name}, effect {effect:.3g}, share {share:.2g}")


def _planted(name: str) -> Iterator[tuple[str, str, float, bool, float]]:
    case = Case(
        name,
        model=f"tests.slow.zoo_transformers:{name}",
        inputs=f"tests.slow.zoo_transformers:{name}_inputs",
        shapes={"b3_s24": {"batch": 3, "seq": 24}},
    )
    with tempfile.TemporaryDirectory() as folder:
        task = {
            "shape": "b3_s24",
            "device": "cpu",
            "dtype_name": "fp32",
            "backend": "",
            "folder": folder,
            "cache": folder,
            "seed": 0,
            "threads": torch.get_num_threads(),
        }
        subject = BoundCase.from_task(task | {"case": case.as_dict()})
        made = reference.make(subject, {}, lambda *_, **__: None)
        if made.unchecked:
            print(f"{name}: unchecked: {made.unchecked}")
            return
        eager, exact = (subject.scratch.load_answers(kept) for kept in ("eager", "reference"))
        assert eager is not None
        assert exact is not None
        sets = subject.inputs()
        for fault, plant in MODEL_FAULTS.items():
            module = subject.module()
            with torch.no_grad():
                changed = plant(module, sets)
            if changed is not Nothing:
                candidate = [
                    arrays(outputs) for outputs in answers(mode_of(subject, module), changed)
                ]
                yield name, fault, *_judged(candidate, eager, exact, subject)
        for fault, spoil in ANSWER_FAULTS.items():
            spoiled = spoil(eager, exact)
            if spoiled is not Nothing:
                yield name, fault, *_judged(*spoiled, subject)


def _judged(
    candidate: Sets, eager: Sets, exact: Sets, subject: BoundCase
) -> tuple[float, bool, float]:
    """Return the effect, whether the fault is found, and the share of the allowed error."""
    outcome = rule.compare(candidate, eager, exact, subject.tolerance)
    effect = 0.0
    for number in range(len(eager[0])):
        ours, base, truth = (
            np.concatenate([outputs[number].ravel() for outputs in s]).astype(np.float64)
            for s in (candidate, eager, exact)
        )
        moved = ours != base
        if moved.any():
            own = max(float(np.linalg.norm(base[moved] - truth[moved])), 1e-300)
            effect = max(effect, float(np.linalg.norm(ours[moved] - base[moved])) / own)
    return min(effect, 1e9), not outcome.agrees, outcome.share


# -- faults of the model: change it or give other inputs; None where there is no place for it


def _gelu_by_tanh(module: torch.nn.Module, sets: list[Any]) -> list[Any] | None:
    parts = [part for part in module.modules() if type(part).__name__ in ("GELUActivation", "GELU")]
    for part in parts:
        part.forward = partial(torch.nn.functional.gelu, approximate="tanh")
    return sets if parts else Nothing


def _norm_eps(module: torch.nn.Module, sets: list[Any]) -> list[Any] | None:
    changed = False
    for part in module.modules():
        for field in ("eps", "variance_epsilon", "layer_norm_eps"):
            if "Norm" in type(part).__name__ and isinstance(getattr(part, field, None), float):
                setattr(part, field, max(100 * getattr(part, field), 1e-5))
                changed = True
    return sets if changed else Nothing


def _mask_ignored(_module: torch.nn.Module, sets: list[Any]) -> list[Any] | None:
    if not any(
        "attention_mask" in inputs and not bool(inputs["attention_mask"].all()) for inputs in sets
    ):
        return Nothing
    return [
        inputs | {"attention_mask": torch.ones_like(inputs["attention_mask"])} for inputs in sets
    ]


def _head_scaled(module: torch.nn.Module, sets: list[Any]) -> list[Any] | None:
    for name, part in module.named_modules():
        if name.rpartition(".")[2] in VALUES:
            weight = getattr(part, "weight", None)
            if weight is not None and weight.ndim == 2:
                weight[-max(weight.shape[0] // 4, 1) :] *= 1 + OFF
                return sets
    return Nothing


def _last_token_dropped(_module: torch.nn.Module, sets: list[Any]) -> list[Any] | None:
    if not all("input_ids" in inputs for inputs in sets):
        return Nothing
    changed = []
    for inputs in sets:
        ids = inputs["input_ids"].clone()
        mask = inputs.get("attention_mask", torch.ones_like(ids))
        last = mask.long().sum(-1) - 1
        rows = torch.arange(len(ids))
        ids[rows, last] = ids[rows, last - 1]
        changed.append(inputs | {"input_ids": ids})
    return changed


def _weights_rounded(module: torch.nn.Module, sets: list[Any]) -> list[Any] | None:
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.copy_(parameter.to(torch.bfloat16).to(parameter.dtype))
    return sets


# -- faults of the answers: candidate, eager and exact answers; None where there is no place for it


def _first(eager: Sets, wide: int) -> int | None:
    """Return the first floating output with at least so many channels."""
    return next(
        (
            n
            for n, a in enumerate(eager[0])
            if a.dtype.kind == "f" and a.ndim > 1 and a.shape[-1] >= wide
        ),
        None,
    )


def _copied(sets: Sets) -> Sets:
    return [[array.copy() for array in outputs] for outputs in sets]


def _one_channel(eager: Sets, exact: Sets) -> tuple[Sets, Sets, Sets] | None:
    if (output := _first(eager, 4)) is None:
        return Nothing
    candidate = _copied(eager)
    for outputs in candidate:
        outputs[output][..., 1] *= 1 + OFF
    return candidate, eager, exact


def _logit_beside_fills(eager: Sets, exact: Sets) -> tuple[Sets, Sets, Sets] | None:
    if (output := _first(eager, 4)) is None:
        return Nothing
    filled, truth = _copied(eager), _copied(exact)
    rng = np.random.default_rng(0)
    for own, right in zip(filled, truth, strict=True):
        place = rng.random(own[output].shape) < 0.3
        own[output][place] = right[output][place] = FILL
    candidate = _copied(filled)
    values = candidate[0][output]
    legal = np.where(values == FILL, 0, np.abs(values))
    values.ravel()[np.argsort(legal.ravel())[-legal.size // 4]] *= 1 + OFF  # one of a usual size
    return candidate, filled, truth


def _element_of_a_tail(eager: Sets, exact: Sets) -> tuple[Sets, Sets, Sets] | None:
    if (output := _first(eager, 4)) is None:
        return Nothing
    candidate = _copied(eager)
    values = candidate[0][output]
    order = np.argsort(np.abs(values).ravel())
    values.ravel()[order[len(order) // 20]] *= 1 + OFF
    return candidate, eager, exact


MODEL_FAULTS: dict[str, Callable[[torch.nn.Module, list[Any]], list[Any] | None]] = {
    "gelu by tanh": _gelu_by_tanh,
    "eps of norms": _norm_eps,
    "mask ignored": _mask_ignored,
    "a head x 1.001": _head_scaled,
    "last token dropped": _last_token_dropped,
    "weights rounded to bf16": _weights_rounded,
}
ANSWER_FAULTS: dict[str, Callable[[Sets, Sets], tuple[Sets, Sets, Sets] | None]] = {
    "a channel x 1.001": _one_channel,
    "a logit x 1.001 beside fills": _logit_beside_fills,
    "an element of a tail x 1.001": _element_of_a_tail,
}


if __name__ == "__main__":
    main()
