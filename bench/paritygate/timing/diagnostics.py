"""Warnings of a record as values: what was seen, with its number, and what to do about it. One
list, pure.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from paritygate.core.reasons import listed
from paritygate.timing import schedule

SPREAD = 0.10
STEAL = 0.02
FOREIGN = 0.10
FEW_BLOCKS = schedule.INTERVAL_ROUNDS
MODE_GAP = 0.05
LAUNCH_BOUND = 0.8
NOTICED = 0.9  # of a model's weights should not be wrong unnoticed


@dataclass(frozen=True)
class Conditions:
    """What the machine did while a group was timed, as shares of all its processors' time."""

    steal: float = 0.0
    foreign: float = 0.0  # by processes that are not ours
    throttled: int = 0  # how often the clock was cut for heat
    gpu_throttled: tuple[str, ...] = ()  # NVML's names of what held a GPU's clock down
    gpu_foreign: int = 0  # processes on a GPU that are not ours
    gpu_lost: str = ""  # what became of a GPU that is gone

    def with_throttling(self, reasons: Iterable[str]) -> Conditions:
        """These, and what else held a GPU's clock down."""
        return replace(self, gpu_throttled=tuple(dict.fromkeys([*self.gpu_throttled, *reasons])))


def advise(blocks: Sequence[float], warm: bool, conditions: Conditions) -> list[str]:
    """The warnings for one cell's block means of one launch."""
    found = []
    if len(blocks) < FEW_BLOCKS:
        found.append(
            f"few blocks: {len(blocks)} measured, {FEW_BLOCKS} make an interval; use --bench-budget normal"
        )
    elif (spread := relative_spread(blocks)) > SPREAD:
        found.append(
            f"spread: nine tenths of the blocks lie within {spread:.0%} of each other, over {SPREAD:.0%}; close other "
            "programs, see `paritygate doctor`"
        )
    if (gap := mode_gap(blocks)) is not None:
        found.append(
            f"two modes: blocks fall into two heaps {gap:.0%} apart; the median may lie in either, compare several runs"
        )
    if not warm:
        found.append(
            f"warm-up: three blocks in a row never agreed within {schedule.WARM_AGREEMENT:.0%}; use a longer budget"
        )
    if conditions.steal > STEAL:
        found.append(
            f"steal: the hypervisor gave {conditions.steal:.0%} of the processors to others; use a quieter machine"
        )
    if conditions.foreign > FOREIGN:
        found.append(
            f"load: other processes used {conditions.foreign:.0%} of the processors while this was timed; stop them"
        )
    if conditions.throttled:
        found.append(
            f"throttled: the processor cut its clock for heat {conditions.throttled} times meanwhile; cool it"
        )
    return found + of_gpu(conditions)


def of_model(facts: Mapping[str, Any]) -> list[str]:
    """The warnings that a model gives rise to, whatever it took to call it: facts of eager's first
    calls; and what its backend could not prove.
    """
    found = []
    if not_known := facts.get("not_known"):
        found.append(
            f"not known: this torch does not tell {', '.join(not_known)}; the answers are checked as ever, but nothing "
            "proves that no other backend gave them; use a release of torch that paritygate was tried with"
        )
    if written := facts.get("writes_inputs"):
        found.append(
            f"inputs changed: the model writes to its inputs {listed(written)}; every call gets copies, and to make "
            "them is part of the time of eager and compile"
        )
    if state := facts.get("state"):
        found.append(
            f"state: answers depend on the calls before, by {listed(state)}; they are checked from the initial state, "
            "and timed as the calls of a block follow each other"
        )
    mutation = facts.get("mutation") or {}
    if mutation.get("noticed", 1.0) < NOTICED:
        found.append(
            f"insensitive: {1 - mutation['noticed']:.0%} of {mutation['weights']} weights could be wrong by 1e-3 and "
            f"nobody would notice ({listed(mutation['unnoticed'])}); use weights of a larger spread, other inputs, or "
            "real weights"
        )
    return found


def of_gpu(conditions: Conditions) -> list[str]:
    """The warnings that a GPU gives rise to, whatever was measured on it."""
    found = []
    if conditions.gpu_throttled:
        found.append(
            f"GPU throttled: {', '.join(conditions.gpu_throttled)} held its clock down while this was timed; cool it, "
            "or compare only with runs under the same power limit"
        )
    if conditions.gpu_foreign:
        found.append(
            f"GPU shared: {conditions.gpu_foreign} processes of others computed on it while this was timed; stop them, "
            "see `nvidia-smi`"
        )
    if conditions.gpu_lost:
        found.append(
            f"GPU lost: {conditions.gpu_lost}; look for Xid in the kernel's log, and reset it"
        )
    return found


def launch_bound(device_seconds: float, seconds: float) -> list[str]:
    """The warning for a cell whose device works for so long on a call that takes ``seconds``, if it
    waits much.
    """
    if device_seconds >= LAUNCH_BOUND * seconds:
        return []
    return [
        f"launch-bound: the device works {device_seconds / seconds:.0%} of a call and waits for the host otherwise; a "
        "larger batch or CUDA graphs (compile_reduce_overhead, onnxruntime_graph) would use it"
    ]


def relative_spread(blocks: Sequence[float]) -> float:
    """The distance of the 5th and 95th percentile over the median."""
    return (schedule.quantile(blocks, 0.95) - schedule.quantile(blocks, 0.05)) / statistics.median(
        blocks
    )


def mode_gap(blocks: Sequence[float]) -> float | None:
    """How far apart two heaps of values lie, relative to the median, or None where there is one
    heap.

    Two heaps: the largest gap between neighbours is over 5 % of the median, leaves a fifth of the
    values on either side, and is at least three times as wide as both heaps.
    """
    if len(blocks) < 10:
        return None
    ordered = sorted(blocks)
    fifth = len(ordered) // 5
    candidates = range(fifth, len(ordered) - fifth)
    cut = max(candidates, key=lambda i: ordered[i] - ordered[i - 1])
    gap = ordered[cut] - ordered[cut - 1]
    widest = max(ordered[cut - 1] - ordered[0], ordered[-1] - ordered[cut])
    if gap > MODE_GAP * statistics.median(ordered) and gap > 3 * widest:
        return gap / statistics.median(ordered)
    return None
