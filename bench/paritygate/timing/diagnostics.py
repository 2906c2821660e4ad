"""Warnings of a record as text: an observation, its number, and what to do about it. Pure."""

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
NOTICED = 0.9  # share of a model's weights in which the check should notice an error


@dataclass(frozen=True)
class Conditions:
    """The state of the machine while a group was timed. Shares are of the time of all
    processors.
    """

    steal: float = 0.0
    foreign: float = 0.0  # by processes that are not ours
    throttled: int = 0  # how often the clock was cut for heat
    gpu_throttled: tuple[str, ...] = ()  # NVML's names of what held a GPU's clock down
    gpu_foreign: int = 0  # processes on a GPU that are not ours
    gpu_lost: str = ""  # the message of a GPU that is gone

    def with_throttling(self, reasons: Iterable[str]) -> Conditions:
        """Return these conditions, with further reasons for which a GPU's clock was held down."""
        return replace(self, gpu_throttled=tuple(dict.fromkeys([*self.gpu_throttled, *reasons])))


def advise(blocks: Sequence[float], warm: bool, conditions: Conditions) -> list[str]:
    """Return the warnings for one cell in one launch. ``blocks``: its block means."""
    warnings = []
    if len(blocks) < FEW_BLOCKS:
        warnings.append(
            f"few blocks: {len(blocks)} measured, {FEW_BLOCKS} make an interval; use --bench-budget normal"
        )
    elif (spread := relative_spread(blocks)) > SPREAD:
        warnings.append(
            f"spread: the central 90 % of the blocks spread over {spread:.0%}, the limit is {SPREAD:.0%}; close other "
            "programs, see `paritygate doctor`"
        )
    if (gap := mode_gap(blocks)) is not None:
        warnings.append(
            f"two modes: blocks form two clusters {gap:.0%} apart; the median may lie in either, compare several runs"
        )
    if not warm:
        warnings.append(
            f"warm-up: three blocks in a row never agreed within {schedule.WARM_AGREEMENT:.0%}; use a longer budget"
        )
    if conditions.steal > STEAL:
        warnings.append(
            f"steal: the hypervisor gave {conditions.steal:.0%} of the processors to others; use a quieter machine"
        )
    if conditions.foreign > FOREIGN:
        warnings.append(
            f"load: other processes used {conditions.foreign:.0%} of the processors while this was timed; stop them"
        )
    if conditions.throttled:
        warnings.append(
            f"throttled: the processor cut its clock for heat {conditions.throttled} times meanwhile; cool it"
        )
    return warnings + gpu_warnings(conditions)


def model_warnings(facts: Mapping[str, Any]) -> list[str]:
    """Return the warnings about a model itself. ``facts``: those of eager's first calls, and those
    that torch does not report.
    """
    warnings = []
    if not_known := facts.get("not_known"):
        warnings.append(
            f"not known: this release of torch does not report {', '.join(not_known)}; the answers are checked as "
            "always, but nothing proves that they come from this backend; use a release of torch that paritygate was "
            "tried with"
        )
    if written := facts.get("writes_inputs"):
        warnings.append(
            f"inputs changed: the model writes to its inputs {listed(written)}; every call gets copies, and copying "
            "is part of the time of eager and compile"
        )
    if state := facts.get("state"):
        warnings.append(
            f"state: answers depend on earlier calls, through {listed(state)}; they are checked from the initial "
            "state, and timed with the state of the calls before"
        )
    mutation = facts.get("mutation") or {}
    if mutation.get("noticed", 1.0) < NOTICED:
        warnings.append(
            f"insensitive: {1 - mutation['noticed']:.0%} of {mutation['weights']} weights could be wrong by 1e-3 and "
            f"the check would not notice ({listed(mutation['unnoticed'])}); use weights of a larger spread, other "
            "inputs, or real weights"
        )
    return warnings


def gpu_warnings(conditions: Conditions) -> list[str]:
    """Return the warnings about the GPU, independent of the cell."""
    warnings = []
    if conditions.gpu_throttled:
        warnings.append(
            f"GPU throttled: {', '.join(conditions.gpu_throttled)} lowered its clock while this was timed; cool it, "
            "or compare only with runs under the same power limit"
        )
    if conditions.gpu_foreign:
        warnings.append(
            f"GPU shared: {conditions.gpu_foreign} other processes computed on it while this was timed; stop them, "
            "see `nvidia-smi`"
        )
    if conditions.gpu_lost:
        warnings.append(
            f"GPU lost: {conditions.gpu_lost}; look for Xid in the kernel's log, and reset it"
        )
    return warnings


def launch_bound(device_seconds: float, seconds: float) -> list[str]:
    """Return a warning if the device works less than ``LAUNCH_BOUND`` of a call that takes
    ``seconds``.
    """
    if device_seconds >= LAUNCH_BOUND * seconds:
        return []
    return [
        f"launch-bound: the device works {device_seconds / seconds:.0%} of a call and waits for the host the rest; "
        "use a larger batch or CUDA graphs (compile_reduce_overhead, onnxruntime_graph)"
    ]


def relative_spread(blocks: Sequence[float]) -> float:
    """Return the distance between the 5th and the 95th percentile, over the median."""
    return (schedule.quantile(blocks, 0.95) - schedule.quantile(blocks, 0.05)) / statistics.median(
        blocks
    )


def mode_gap(blocks: Sequence[float]) -> float | None:
    """Return the gap between two clusters of values, relative to the median, or None where there is
    one cluster.

    The gap is the largest one between neighbours. A fifth of the values must lie on either side.
    The gap must be over 5 % of the median, and over three times as wide as each cluster.
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
