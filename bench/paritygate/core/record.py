"""Record: the results of one cell in one run, as one flat row. Also the words for how a cell ended.

Schema history:
    1  2026-11  first
    2  2026-11  the gate: verdict, effect and findings
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from paritygate.core import reasons

SCHEMA = 2


class Status(StrEnum):
    """How a cell ended. Only an ``ok`` cell has a speed."""

    OK = "ok"
    PARITY_FAILED = "parity_failed"  # the answer differs from the reference by more than allowed
    FAILED = "failed"  # raised, recompiled, broke its graph, fell back: the reason says which
    CRASHED = "crashed"  # ended by a signal or by exit()
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    SKIPPED = "skipped"  # cannot run here, for the reason given
    UNCHECKED = "unchecked"  # there is nothing to compare it with: never a pass


class Verdict(StrEnum):
    """How a comparison of two revisions ended (the gate)."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"
    UNSTABLE = "unstable"
    HEAVIER = "heavier"  # it needs more memory
    SLOWER_PREPARE = "slower_prepare"  # it takes longer until the first answer
    FACT_CHANGED = "fact_changed"  # one that the case declares as kept
    ANSWERS_CHANGED = "answers_changed"
    NEW = "new"
    MISSING = "missing"
    BROKEN = "broken"
    NOT_COMPARABLE = "not_comparable"


RED = (
    Verdict.ANSWERS_CHANGED,
    Verdict.REGRESSED,
    Verdict.UNSTABLE,
    Verdict.HEAVIER,
    Verdict.SLOWER_PREPARE,
    Verdict.FACT_CHANGED,
)
"""The verdicts that fail a gate."""


@dataclass(frozen=True)
class End:
    """How a cell ended. Terminal codes are removed from reason and trace."""

    status: Status
    reason: str = ""
    trace: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", reasons.whole(self.reason))
        object.__setattr__(self, "trace", reasons.clean(self.trace))


@dataclass(frozen=True)
class CellStatus:
    """The identity of a cell, and how it ended."""

    cell: str
    case: str
    shape: str
    device: str
    backend: str
    dtype: str
    status: Status
    reason: str = ""
    unit: str = ""
    units: int = 1  # units of work in one call


@dataclass(frozen=True)
class Speed:
    """The timing of a cell.

    Times come from *samples* and *blocks*. One sample is ``calls_per_sample`` calls; its value is
    seconds per call. One block is about 50 ms of samples; its value is their mean. ``blocks`` holds
    one list per launch.
    """

    throughput: float | None = None  # units per second at the median of the block means
    latency_p50: float | None = None  # of the samples, seconds per call
    latency_p90: float | None = None
    latency_p99: float | None = None
    interval_low: float | None = None  # 95 % interval of the median block mean, seconds per call
    interval_high: float | None = None
    speedup: float | None = None  # eager's time over this cell's, paired within rounds; 1 for eager
    speedup_low: float | None = None  # 95 % interval over launches; None when there was only one
    speedup_high: float | None = None
    launches: int = 0
    calls_per_sample: int | None = None
    samples_seen: int = 0  # measured; at most 2,000 of them are kept
    stop: str = ""  # why measuring ended: "precision", "budget"
    blocks: list[list[float]] = field(default_factory=list)  # seconds per call, a list per launch
    samples: list[float] = field(default_factory=list)  # seconds per call, at most 2,000


@dataclass(frozen=True)
class Check:
    """The results of opening the cell and comparing its answers with the reference."""

    # e: norm of (answer - reference) over norm of reference, worst output
    error: float | None = None
    error_allowed: float | None = None
    error_share: float | None = None  # error over what is allowed, worst rule; above 1 fails
    eager_error: float | None = None
    max_abs_error: float | None = None
    # "float64", "promoted" (casts inside the model became casts to float64), or "eager"
    reference: str = ""
    top1_agreement: float | None = None
    accuracy: float | None = None  # share of labelled samples answered correctly
    accuracy_samples: int | None = None

    peak_bytes: int | None = None  # of the worker, above what it held before the model was built
    prepare_seconds: float | None = None  # build, load, compile or open, first call; caches warm
    prepare_cold_seconds: float | None = None  # the same with empty caches, where this run saw it
    first_call_seconds: float | None = None
    parameters: int | None = None
    flops: int | None = None  # of one call, counted in eager


@dataclass(frozen=True)
class Comparison:
    """How the cell compares with the same cell of another revision (the gate)."""

    verdict: str = ""  # a Verdict, where the cell was compared
    verdict_reason: str = ""
    effect: float | None = None  # share by which head is slower than base; negative: faster
    effect_low: float | None = None  # 95 % interval over launch pairs
    effect_high: float | None = None
    effect_sd: float | None = None  # of single launch pairs, of ln(head/base)
    detectable: float | None = None  # the smallest slowdown that would have been found with 95 %
    findings: list[str] = field(default_factory=list)  # certain changes from base to head


@dataclass(frozen=True)
class Record(Comparison, Check, Speed, CellStatus):
    """One cell in one run, flat: the fields of its parts side by side, those of ``CellStatus``
    first. The stored columns are in this order.

    Seconds, bytes and plain ratios throughout; None if not known. A cell without any result has no
    record.
    """

    warnings: list[str] = field(default_factory=list)
    # graphs, providers, kernels, node counts ...
    facts: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)  # every number of the comparison

    @property
    def measured(self) -> bool:
        """Whether the record holds a speed."""
        return self.throughput is not None

    @property
    def identical(self) -> bool:
        """Whether the gate left the cell out, because it is identical on both sides."""
        return bool(self.facts.get("identical"))

    @property
    def trace(self) -> str:
        """Where a failure came from, or ""."""
        return str(self.facts.get("trace", ""))

    @property
    def known_failure(self) -> str:
        """Why the case declares that this failure is known, or ""."""
        return str(self.facts.get("known_gap", ""))

    @property
    def fixed(self) -> str:
        """Why the case declares a failure that has been fixed, or ""."""
        return str(self.facts.get("gap_closed", ""))

    def joined(self, *parts: Speed | Check | Comparison, **fields: Any) -> Record:
        """Return the record with the fields of these parts and with ``fields`` in place of its own."""
        return replace(self, **{n: v for part in parts for n, v in vars(part).items()}, **fields)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain data (JSON)."""
        return asdict(self) | {"status": str(self.status)}

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Record:
        """Return the record of such a dict. Unknown keys raise ``TypeError``; missing keys take the
        default.
        """
        return cls(**row | {"status": Status(row["status"])})


@dataclass(frozen=True)
class Run:
    """The facts of a whole run before its first cell: its code, its machine, its conditions."""

    id: str  # a UUID
    started: str  # ISO 8601, UTC
    budget: str
    laboratory: bool
    seed: int
    commit: str | None = None
    branch: str | None = None
    dirty: bool | None = None
    environment: dict[str, Any] = field(default_factory=dict)  # flat: machine, versions, threads
    absent: dict[str, str] = field(default_factory=dict)  # device -> why it is not here
    schema: int = SCHEMA
