"""What the workers of one cell on both sides tell beside times: what changed, where it got slower."""

from __future__ import annotations

from contextlib import suppress

from paritygate.gate import findings
from paritygate.process.client import WorkerError
from paritygate.process.protocol import AskProfile, CompareWith
from paritygate.session.opened import OpenedCell

KEEP_DEADLINE = 60.0  # seconds to read or write some answers
PROFILED = 50  # times the seconds of a call that a profile of five may take


def changes(base: OpenedCell, head: OpenedCell) -> list[str]:
    """Return what changed for certain: facts, and answers where the weights are the same. Both
    are open. Raises ``WorkerError``.
    """
    assert base.record is not None
    assert head.record is not None
    assert head.worker is not None
    found = findings.changed_facts(base.record, head.record)
    if foreign := base.reference.made.weights:
        return [
            *found,
            f"answers: not comparable, base cannot load head's weights ({foreign})",
        ]
    compared = head.worker.ask(CompareWith(str(base.reference.folder)), KEEP_DEADLINE)
    head.worker.park()
    return [*found, *filter(None, [findings.changed_answers(compared)])]


def slower_operators(base: OpenedCell, head: OpenedCell) -> list[str]:
    """Return where the time went, by a profiled call on either side; nothing where one has none."""
    found = []
    with suppress(WorkerError):  # the verdict stands without
        for worker in filter(None, (base.worker, head.worker)):
            seconds = KEEP_DEADLINE + PROFILED * (worker.seconds_per_call or 0.0)
            found.append(worker.ask(AskProfile(), seconds).operators)
    return findings.changed_operators(*found) if len(found) == 2 else []
