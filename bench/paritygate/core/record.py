"""Record: what is known of one cell after one run, as one flat row; and the words for how it ended.

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
    PARITY_FAILED = "parity_failed"  # another answer than the reference allows
    FAILED = "failed"  # raised, recompiled, broke its graph, fell back: the reason says which
    CRASHED = "crashed"  # ended by a signal or by exit()
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    SKIPPED = "skipped"  # cannot run here, for the reason given
    UNCHECKED = "unchecked"  # nothing to check it against: never a pass


class Verdict(StrEnum):
    """How a comparison of two revisions ended (the gate)."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"
    UNSTABLE = "unstable"
    NEW = "new"
    MISSING = "missing"
    BROKEN = "broken"
    NOT_COMPARABLE = "not_comparable"


RED = (Verdict.REGRESSED, Verdict.UNSTABLE)
"""The verdicts that fail a gate."""


@dataclass(frozen=True)
class End:
    """How a cell ended. Reason and trace lose their terminal codes here, whoever wrote them."""

    status: Status
    reason: str = ""
    trace: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", reasons.whole(self.reason))
        object.__setattr__(self, "trace", reasons.clean(self.trace))


@dataclass(frozen=True)
class CellStatus:
    """Which cell it is, and how it ended."""

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
    """What was timed.

    Times come from *samples* (one sample is ``calls_per_sample`` calls, its value seconds per call)
    and *blocks* (about 50 ms of samples, its value their mean). ``blocks`` holds one list per
    launch.
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
    """What was found when the cell was opened and its answers were compared with the reference."""

    # e: norm of (answer - reference) over norm of reference, worst output
    error: float | None = None
    error_allowed: float | None = None
    error_share: float | None = None  # error over what is allowed, worst rule; above 1 fails
    eager_error: float | None = None
    max_abs_error: float | None = None
    # "float64", "promoted" (casts inside the model became casts to float64), or "eager"
    reference: str = ""
    top1_agreement: float | None = None
    accuracy: float | None = None  # share of labelled samples answered rightly
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
    findings: list[str] = field(default_factory=list)  # what changed from base to head for certain


@dataclass(frozen=True)
class Record(Comparison, Check, Speed, CellStatus):
    """One cell in one run, flat: the fields of its parts beside each other, those of ``CellStatus``
    first. The stored columns are in this order.

    Seconds, bytes and plain ratios throughout; None where not known. A cell of which nothing is
    known yet has no record.
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
    def trace(self) -> str:
        """Where a failure came from, or ""."""
        return str(self.facts.get("trace", ""))

    @property
    def known_failure(self) -> str:
        """Why the case declares that this failure is known, or ""."""
        return str(self.facts.get("known_gap", ""))

    @property
    def fixed(self) -> str:
        """Why the case declares a failure that is there no more, or ""."""
        return str(self.facts.get("gap_closed", ""))

    def joined(self, *parts: Speed | Check | Comparison, **fields: Any) -> Record:
        """The record with the fields of these parts, and with ``fields``, in place of its own."""
        return replace(self, **{n: v for part in parts for n, v in vars(part).items()}, **fields)

    def as_dict(self) -> dict[str, Any]:
        """The record as plain data (JSON)."""
        return asdict(self) | {"status": str(self.status)}

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Record:
        """The record of such a dict; unknown keys raise ``TypeError``, missing ones take the
        default.
        """
        return cls(**row | {"status": Status(row["status"])})


@dataclass(frozen=True)
class Run:
    """What is known of a whole run before its first cell: which code, which machine, which
    conditions.
    """

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
