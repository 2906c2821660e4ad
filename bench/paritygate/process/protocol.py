"""What the pytest process and its measuring processes say to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from paritygate.core.record import Check


class Stage(StrEnum):
    """What a measuring process is doing. The value is its sentence, with a gap for a detail."""

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

    def sentence(self, detail: object = "") -> str:
        """What people read."""
        return self.value.format(detail)


BEFORE_EAGER = frozenset(
    {Stage.IMPORTING, Stage.BUILDING, Stage.MAKING_INPUTS, Stage.KEEPING, Stage.RUNNING_EAGER}
)
"""The stages of a reference worker until eager has answered: where it ends in one of them, there is
nothing that any cell could be compared with.
"""


A = TypeVar("A")


class Request(Generic[A]):
    """What a worker is asked. ``ANSWER`` is the class of what it answers with."""

    ANSWER: ClassVar[type[Any]]


@dataclass(frozen=True)
class Nothing:
    """An answer that says only that it was done."""


@dataclass(frozen=True)
class Conditions:
    """What a process really got of the laboratory.

    ``kept_by_malloc``: a freed GiB stays with the process; ``huge_pages``: bytes of a fresh 64 MiB
    tensor that lie on huge pages; None where the system does not tell.
    """

    asked: dict[str, str]
    settings: dict[str, Any]
    kept_by_malloc: bool | None
    huge_pages: int | None


@dataclass(frozen=True)
class Reference:
    """What a reference worker has made, beside the files in the group's folder.

    ``unchecked``: why there is nothing to compare with, or "". ``artefacts``: backend -> what its
    export cost, or how it failed. ``sources``: the user's modules -> their files. ``weights``: why
    another revision's weights were not taken over, or "".
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
    """Evidence of an opened cell. Fields as in ``Check``; the status is one that ends it, or
    "".
    """

    facts: dict[str, Any]
    status: str = ""
    reason: str = ""
    accuracy: float | None = None
    accuracy_samples: int | None = None
    top1_agreement: float | None = None  # over labelled samples; None: what `Opened` says holds


@dataclass(frozen=True)
class Timed:
    """One block: seconds per call of each sample, and the device's clock state behind it."""

    times: list[float]
    mhz: int | None = None
    throttled: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Compared:
    """A worker's answers beside another revision's."""

    identical: bool
    error: float
    allowed: float
    reason: str


@dataclass(frozen=True)
class Profile:
    """Seconds of a call by operator."""

    operators: dict[str, float]


@dataclass(frozen=True)
class Facts:
    """What a worker knows after its last block."""

    facts: dict[str, Any]


@dataclass(frozen=True)
class AskReady(Request[Nothing]):
    """Answer at all."""

    ANSWER = Nothing


@dataclass(frozen=True)
class AskConditions(Request[Conditions]):
    """Tell what this process really got of the laboratory."""

    ANSWER = Conditions


@dataclass(frozen=True)
class MakeReference(Request[Reference]):
    """Make what the group's cells need.

    ``backends``: backend -> module, those that make artefacts. ``given``: the folder of another
    revision's reference, whose inputs and weights are taken. ``mutate``: measure which weights the
    check would notice.
    """

    ANSWER = Reference
    backends: dict[str, str]
    given: str | None = None
    mutate: bool = False


@dataclass(frozen=True)
class Open(Request[Opened]):
    """Prepare the backend in ``module`` and check its answers.

    ``again``: an earlier worker has opened it and left its answers (``Keep``); those must come
    again, and that is check enough.
    """

    ANSWER = Opened
    module: str
    again: bool = False


@dataclass(frozen=True)
class Examine(Request[Examined]):
    """Collect evidence of what was opened: kernels, accuracy, leaks; and whether a row answers
    alone as it does in its batch.
    """

    ANSWER = Examined
    batch_invariance: bool


@dataclass(frozen=True)
class Keep(Request[Nothing]):
    """Leave the checked answers in the group's folder, for workers that open ``again``."""

    ANSWER = Nothing


@dataclass(frozen=True)
class Block(Request[Timed]):
    """Time one block of ``samples`` of ``calls`` each, and check sample ``keep``'s last answer.

    ``planted``: the share by which calls are made slower on purpose.
    """

    ANSWER = Timed
    calls: int
    samples: int
    keep: int
    planted: float = 0.0


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
    """Collect evidence after the last block; ``energy_seconds`` of calls for joules, 0 for none."""

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
    """How a worker's process ended, as ``os.wait`` tells it; None for no child of this server."""

    status: int | None


@dataclass(frozen=True)
class Fork(Request[Started]):
    """Asked of a fork server: fork a worker for a task. Its socket and its log come as files."""

    ANSWER = Started
    task: dict[str, Any]


@dataclass(frozen=True)
class Become(Request[Started]):
    """Asked of a fork server: turn into that worker, where forking is not safe."""

    ANSWER = Started
    task: dict[str, Any]


@dataclass(frozen=True)
class Wait(Request[Ended]):
    """Asked of a fork server: wait for the end of a worker."""

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
        CompareWith,
        AskProfile,
        Finish,
        Close,
        Fork,
        Become,
        Wait,
    )
}
"""The table that both sides read: name on the wire -> class."""


def encode(request: Request[Any]) -> dict[str, Any]:
    """A request as JSON takes it."""
    return {"request": type(request).__name__, "values": vars(request)}


def decode(message: dict[str, Any]) -> Request[Any]:
    """The request of such a message."""
    return REQUESTS[message["request"]](**message["values"])
