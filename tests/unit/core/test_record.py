"""A record: flat and frozen, made of parts; rows that were stored before it had parts are read as
they were.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from paritygate.core.case import Case, Target, cell_of
from paritygate.core.record import (
    CellStatus,
    Check,
    Comparison,
    End,
    Record,
    Run,
    Speed,
    Status,
)
from paritygate.process.protocol import Examined, Opened
from paritygate.session import records
from paritygate_reports.frame import from_records
from paritygate_reports.store.store import Store

CASE = Case(
    "one",
    model="m:M",
    inputs="m:i",
    shapes={"b8": {"batch": 8}},
    known_failures={"eager": "issue 12"},
)
CELL = cell_of(CASE, CASE.all_shapes()[0], Target("cpu", "eager", "fp32"))
RUN = Run("1", "2026-11-22T08:47:00+00:00", "quick", laboratory=True, seed=0)
# a row of a report that was written when the record was one class
ROW = {
    "cell": "one-b8-cpu-compile-fp32",
    "case": "one",
    "shape": "b8",
    "device": "cpu",
    "backend": "compile",
    "dtype": "fp32",
    "status": "parity_failed",
    "reason": "far",
    "unit": "row",
    "units": 8,
    "error": 0.5,
    "error_allowed": 0.1,
    "reference": "float64",
    "top1_agreement": 1.0,
    "peak_bytes": 7,
    "prepare_seconds": 0.5,
    "parameters": 3,
    "verdict": "broken",
    "verdict_reason": "head: far",
    "effect": 0.01,
    "launches": 2,
    "calls_per_sample": 1,
    "stop": "gate",
    "throughput": 12.5,
    "findings": ["graphs: 1 -> 2"],
    "warnings": ["load"],
    "facts": {"graphs": 1, "trace": "Traceback", "known_gap": "issue 11", "gap_closed": "issue 9"},
    "parity": {"compared": 32},
    "blocks": [[0.1, 0.2]],
    "samples": [0.1, 0.2, 0.3],
}


def test_a_row_of_the_old_shape_goes_through_record_store_and_frame_unchanged(tmp_path):
    record = Record.from_dict(ROW)
    assert {name: value for name, value in record.as_dict().items() if name in ROW} == ROW
    assert (record.trace, record.known_failure, record.fixed) == (
        "Traceback",
        "issue 11",
        "issue 9",
    )

    store = Store(tmp_path / "store.sqlite")
    store.write(RUN, record)
    assert store.records(RUN.id, samples=True) == [record]

    (row,) = from_records(RUN, [record]).to_dict("records")
    plain = {name for name, value in ROW.items() if not isinstance(value, dict | list)}
    assert {name: row[name] for name in plain} == {name: ROW[name] for name in plain}
    assert '"known_gap": "issue 11"' in row["facts"]


@pytest.mark.parametrize("part", [CellStatus, Speed, Check, Comparison, Record])
def test_nothing_changes_a_record_or_a_part_of_it(part):
    given = {name: ROW[name] for name in ("cell", "case", "shape", "device", "backend", "dtype")}
    needed = given | {"status": Status.OK} if issubclass(part, CellStatus) else {}
    made = part(**needed)

    for field in fields(part):
        with pytest.raises(FrozenInstanceError):
            setattr(made, field.name, None)


def opened(**changes) -> Opened:
    given: dict[str, Any] = {
        "prepare_seconds": 0.5,
        "status": "ok",
        "error": 0.1,
        "reference": "float64",
    }
    return Opened(**given | changes)


def test_a_checked_cell_joins_what_was_opened_examined_and_shared():
    examined = Examined({"soak": {}}, accuracy=0.9, top1_agreement=0.8)
    shared = {"parameters": 3, "promoted": {"casts": 1}}

    record = records.checked(
        CELL, opened(facts={"graphs": 1}, top1_agreement=1.0), examined, shared
    )

    assert (record.status, record.error, record.accuracy) == (Status.OK, 0.1, 0.9)
    assert record.top1_agreement == 0.8, "over more samples"
    assert (record.parameters, record.reference) == (3, "promoted")
    assert record.facts == {"graphs": 1, "soak": {}, "promoted": {"casts": 1}}


def test_what_ends_a_cell_that_was_examined_counts():
    record = records.checked(CELL, opened(), Examined({}, "failed", "leak"), {})

    assert (record.status, record.reason, record.error) == (Status.FAILED, "leak", 0.1)


def test_a_cell_that_ends_later_keeps_what_was_known_of_it():
    record = records.checked(CELL, opened(facts={"graphs": 1}), None, {})

    later = records.ended(CELL, End(Status.CRASHED, "gone", "in now"), record)

    assert (later.status, later.reason, later.error) == (Status.CRASHED, "gone", 0.1)
    assert later.facts == {"graphs": 1, "trace": "in now"}
    assert record.facts == {"graphs": 1}, "the earlier one is as it was"


@pytest.mark.parametrize(
    ("status", "known", "fixed"),
    [("parity_failed", "issue 12", ""), ("ok", "", "issue 12"), ("crashed", "", "")],
)
def test_a_declared_failure_is_noted_where_it_is_and_where_it_is_no_more(status, known, fixed):
    record = records.with_known_failure(CELL, records.ended(CELL, End(Status(status))))

    assert (record.known_failure, record.fixed) == (known, fixed)
