"""The requests and answers between the pytest process and its measuring processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from paritygate.core.record import Check


class Stage(StrEnum):
    """The current work of a measuring process. The value is its sentence, with a place for a
    detail.
    """

    IMPORTING = "importing {}"
    BUILDING = "importing and building the model"
    MAKING_INPUTS = "making inputs"
    KEEPING = "keeping inputs and weights"
    RUNNING_EAGER = "running eager"
    EAGER_SAMPLES = "answering labelled samples in eager"
    FLOAT64 = "computing the float64 reference"
    TRAINING_TWIN = "training eager's twin"
    IGNORING_MASK = "ignoring the mask on purpose"
    PERTURBING = "perturbing each weight"
    MAKING_ARTEFACT = "making what {} needs"
    LOADING = "loading inputs"
    PREPARING = "preparing the model"
    ANSWERING = "answering the checked inputs"
    COMPARING = "comparing with the reference"
    TRAINING_STEPS = "training some steps"
    SAMPLES = "answering labelled samples"
    LEARNING = "learning"
    SOAKING = "calling {} times"
    TIMING = "timing"
    AUDITING = "auditing the times"

    def sentence(self, detail: object = "") -> str:
        """Return the sentence with its detail, for messages."""
        return self.value.format(detail)


BEFORE_EAGER = frozenset(
    {Stage.IMPORTING, Stage.BUILDING, Stage.MAKING_INPUTS, Stage.KEEPING, Stage.RUNNING_EAGER}
)
"""The stages of a reference worker until eager has answered. If it ends in one of them, there is
nothing to compare any cell with.
"""


A = TypeVar("A")


class Request(Generic[A]):
    """A request to a worker. ``ANSWER``: the class of its answer."""

    ANSWER: ClassVar[type[Any]]


@dataclass(frozen=True)
class Nothing:
    """An answer that only says that the request was done."""


@dataclass(frozen=True)
class Conditions:
    """The conditions that a process really got.

    ``kept_by_malloc``: a freed GiB stays with the process. ``huge_pages``: bytes of a fresh 64 MiB
    tensor that lie on huge pages. None: the system does not report it.
    """

    asked: dict[str, str]
    settings: dict[str, Any]
    kept_by_malloc: bool | None
    huge_pages: int | None


@dataclass(frozen=True)
class Reference:
    """The results of a reference worker, besides the files in the group's folder.

    ``unchecked``: why there is nothing to compare with, or "". ``artefacts``: backend -> the cost
    of its export, or its failure. ``sources``: the user's modules -> their files. ``weights``: why
    another revision's weights were not used, or "".
    """

    facts: dict[str, Any]
    unchecked: str
    artefacts: dict[str, dict[str, Any]]
    sources: dict[str, str]
    weights: str


@dataclass(frozen=True, kw_only=True)
class Opened(Check):
    """A backend that is ready, and how its answers compare. ``cold``: it had to compile."""

    prepare_seconds: float
    status: str
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    cold: bool = False


@dataclass(frozen=True)
class Examined:
    """Evidence of an opened cell. Fields as in ``Check``. ``status``: one that ends the cell, or
    "".
    """

    facts: dict[str, Any]
    status: str = ""
    reason: str = ""
    accuracy: float | None = None
    accuracy_samples: int | None = None
    top1_agreement: float | None = None  # over labelled samples; None: use the value of `Opened`


@dataclass(frozen=True)
class Timed:
    """One block: seconds per call of each sample, and the device's clock state after it."""

    times: list[float]
    mhz: int | None = None
    throttled: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Clocked:
    """Seconds of some calls by the worker's clock. ``replaced``: clocks that are not Python's."""

    seconds: float
    replaced: list[str]


@dataclass(frozen=True)
class Audited:
    """The parts of the audit that this cell's inputs do not allow."""

    left_out: list[str]


@dataclass(frozen=True)
class Compared:
    """A worker's answers compared with another revision's.

    ``error``: the distance of the two. ``changed``: why the other revision's answers would be wrong
    as a backend's of this revision, or "".
    """

    identical: bool
    error: float
    changed: str


@dataclass(frozen=True)
class Profile:
    """The seconds of a call by operator."""

    operators: dict[str, float]


@dataclass(frozen=True)
class Facts:
    """The facts that a worker knows after its last block."""

    facts: dict[str, Any]


@dataclass(frozen=True)
class AskReady(Request[Nothing]):
    """Answer when ready."""

    ANSWER = Nothing


@dataclass(frozen=True)
class AskConditions(Request[Conditions]):
    """Report the conditions that this process really got."""

    ANSWER = Conditions


@dataclass(frozen=True)
class MakeReference(Request[Reference]):
    """Make everything that the group's cells need.

    ``backends``: backend -> module, for those that make artefacts. ``given``: the folder of another
    revision's reference, whose inputs and weights are used. ``mutate``: measure which weights the
    check would notice.
    """

    ANSWER = Reference
    backends: dict[str, str]
    given: str | None = None
    mutate: bool = False


@dataclass(frozen=True)
class Open(Request[Opened]):
    """Prepare the backend in ``module`` and check its answers.

    ``again``: an earlier worker has opened it and saved its answers (``Keep``). The check is then
    only that the answers are the same.
    """

    ANSWER = Opened
    module: str
    again: bool = False


@dataclass(frozen=True)
class Examine(Request[Examined]):
    """Collect evidence of the opened cell: kernels, accuracy, leaks.

    ``batch_invariance``: also whether a row alone gets the same answer as in its batch.
    """

    ANSWER = Examined
    batch_invariance: bool


@dataclass(frozen=True)
class Keep(Request[Nothing]):
    """Save the checked answers in the group's folder, for workers that open ``again``."""

    ANSWER = Nothing


@dataclass(frozen=True)
class Block(Request[Timed]):
    """Time one block of ``samples`` of ``calls`` each, and check the last answer of sample
    ``keep``.

    ``planted``: the share by which calls are made slower on purpose.
    """

    ANSWER = Timed
    calls: int
    samples: int
    keep: int
    planted: float = 0.0


@dataclass(frozen=True)
class AuditClock(Request[Clocked]):
    """Time ``samples`` samples of ``calls`` calls as a block does, and do nothing beside them, so
    that another clock can measure them.
    """

    ANSWER = Clocked
    calls: int
    samples: int


@dataclass(frozen=True)
class AuditWork(Request[Audited]):
    """Fail if calls do not do the work that their times stand for; see ``paritygate.worker.audit``."""

    ANSWER = Audited


@dataclass(frozen=True)
class CompareWith(Request[Compared]):
    """Compare the checked answers with those that another revision's worker kept in ``folder``."""

    ANSWER = Compared
    folder: str


@dataclass(frozen=True)
class AskProfile(Request[Profile]):
    """Profile a call."""

    ANSWER = Profile


@dataclass(frozen=True)
class Finish(Request[Facts]):
    """Collect evidence after the last block. ``energy_seconds``: seconds of calls to measure
    joules; 0 for none.
    """

    ANSWER = Facts
    energy_seconds: float = 0.0


@dataclass(frozen=True)
class Close(Request[Nothing]):
    """End what the backend has started."""

    ANSWER = Nothing


@dataclass(frozen=True)
class Started:
    """The process of a worker that was started."""

    pid: int


@dataclass(frozen=True)
class Ended:
    """The status of a worker's process, as from ``os.wait``. None: it was no child of this server."""

    status: int | None


@dataclass(frozen=True)
class Fork(Request[Started]):
    """Request to a fork server: fork a worker for a task. Its socket and its log come as files."""

    ANSWER = Started
    task: dict[str, Any]


@dataclass(frozen=True)
class Become(Request[Started]):
    """Request to a fork server: become that worker. Used where forking is not safe."""

    ANSWER = Started
    task: dict[str, Any]


@dataclass(frozen=True)
class Wait(Request[Ended]):
    """Request to a fork server: wait for the end of a worker."""

    ANSWER = Ended
    pid: int


REQUESTS: dict[str, type[Request[Any]]] = {
    request.__name__: request
    for request in (
        AskReady,
        AskConditions,
        MakeReference,
        Open,
        Examine,
        Keep,
        Block,
        AuditClock,
        AuditWork,
        CompareWith,
        AskProfile,
        Finish,
        Close,
        Fork,
        Become,
        Wait,
    )
}
"""The table that both sides read: name in the message -> class."""


def encode(request: Request[Any]) -> dict[str, Any]:
    """Return a request as plain data for JSON."""
    return {"request": type(request).__name__, "values": vars(request)}


def decode(message: dict[str, Any]) -> Request[Any]:
    """Return the request of such a message."""
    return REQUESTS[message["request"]](**message["values"])
