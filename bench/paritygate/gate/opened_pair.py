"""Compare the open workers of one cell on both sides: changes of facts, and slower operators."""

from __future__ import annotations

from contextlib import suppress

from paritygate.gate import findings, prepare
from paritygate.gate.findings import Changes
from paritygate.gate.request import Margins
from paritygate.process.client import WorkerError
from paritygate.process.protocol import AskProfile, CompareWith
from paritygate.session.opened import OpenedCell

KEEP_DEADLINE = 60.0  # seconds to read or write some answers
PROFILED = 50  # a profile of five calls may take this many times the seconds of a call


def changes(base: OpenedCell, head: OpenedCell, margins: Margins) -> Changes:
    """Return the certain changes of a cell.

    Both cells must be open, and must have kept their answers. Raises ``WorkerError``.
    """
    assert base.record is not None
    assert head.record is not None
    assert base.worker is not None
    found = findings.changed_facts(base.record, head.record)
    cold = prepare.changed_cold(base.cold_seconds, head.cold_seconds, margins.prepare_caught)
    found += filter(None, [cold])
    kept = findings.changed_kept(base.record, head.record, head.cell.case.keeps)
    same_code = findings.same_code(base.record, head.record)
    if foreign := base.reference.made.weights:
        line = f"answers: not comparable, base cannot load head's weights ({foreign})"
        return Changes([*found, line], kept, "", same_code)
    # base knows its own float64 answers, and how far a rounding moves them
    # and a second look runs eager again, so that this may take as long as opening
    request = CompareWith(str(head.reference.folder))
    compared = base.reference.ask(base.worker, request, cold=False)
    base.worker.park()
    found += filter(None, [findings.changed_answers(compared)])
    return Changes(found, kept, compared.changed, same_code)


def slower_operators(base: OpenedCell, head: OpenedCell) -> list[str]:
    """Return the operators that got slower, from a profiled call on either side. Return nothing if a
    side has no profile.
    """
    found = []
    with suppress(WorkerError):  # the verdict does not need the profile
        for worker in filter(None, (base.worker, head.worker)):
            seconds = KEEP_DEADLINE + PROFILED * (worker.seconds_per_call or 0.0)
            found.append(worker.ask(AskProfile(), seconds).operators)
    return findings.changed_operators(*found) if len(found) == 2 else []
