"""What stands below the table: the figures that training, loading and ranks have of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from paritygate.core.record import Record, Run, Status
from paritygate_reports.view.sections import sections
from tests.support.history import COMPILED, EAGER

RUN = Run("1a2b3c4d", "2026-11-22T00:00:00+00:00", "quick", laboratory=True, seed=0)


def lines(title: str, *records: Record) -> list[str]:
    """The points of the section whose title begins so; none where there is no such section."""
    found = [section for section in sections(RUN, records) if section.title.startswith(title)]
    return [item.lead for section in found for item in section.items]


def ranks(device: str, number: int, speedup: float | None, **more: Any) -> Record:
    cell = f"ddp-b64-{device}-ddp_{number}-fp32"
    return replace(
        EAGER,
        cell=cell,
        device=device,
        backend=f"ddp_{number}",
        speedup=speedup,
        facts={"ranks": number},
        **more,
    )


def test_a_step_has_its_parts_in_one_unit():
    step = replace(
        EAGER, facts={"step_seconds": {"forward": 1.5e-3, "backward": 2.25e-3, "optimizer": 1.2e-4}}
    )

    assert lines("a training step", step, COMPILED) == [
        "cnn-b32-cpu-eager-fp32: 1.50 ms, 2.25 ms, 0.120 ms"
    ]


def test_the_share_that_waits_for_data_is_told_where_it_was_measured():
    found = [replace(EAGER, facts={"data_wait_share": share}) for share in (0.42, 0.0, None)]

    assert lines("the share of a training that waits", *found, COMPILED) == [
        "cnn-b32-cpu-eager-fp32: 42 %",
        "cnn-b32-cpu-eager-fp32: 0 %",
    ]


def test_ranks_on_a_cpu_share_the_threads_of_one_process():
    assert lines("scaling efficiency", EAGER, ranks("cpu", 1, 0.93), ranks("cpu", 2, 0.41)) == [
        "ddp-b64-cpu-ddp_1-fp32: 93 %, 1 rank",
        "ddp-b64-cpu-ddp_2-fp32: 41 %, 2 ranks",
    ]


def test_ranks_on_gpus_have_one_each():
    two = ranks("cuda", 2, 1.8, speedup_low=1.7, speedup_high=1.9)

    assert lines("scaling efficiency", two) == [
        "ddp-b64-cuda-ddp_2-fp32: 90 % (85 % to 95 %), 2 ranks"
    ]


def test_ranks_without_one_process_beside_them_have_no_efficiency():
    assert not lines("scaling efficiency", ranks("cpu", 2, None))


def test_the_report_joins_cells_of_one_case_and_never_those_of_two():
    one = replace(EAGER, status=Status.FAILED, reason="KeyError: 'x'", facts={})
    records = [
        one,
        replace(one, cell="second"),
        replace(one, cell="other", case="other"),
        replace(one, cell="crashed", status=Status.CRASHED),
    ]
    (failures,) = [part for part in sections(RUN, records) if part.title == "failures"]

    assert [(item.lead, item.body) for item in failures.items] == [
        (f"failed  {one.cell} and 1 more cell", "KeyError: 'x'\nalso second"),
        ("failed  other", "KeyError: 'x'"),
        ("crashed  crashed", "KeyError: 'x'"),
    ]
