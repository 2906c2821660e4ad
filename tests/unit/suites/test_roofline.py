"""The roofline: what is attainable, what a cell reaches of it, and the facts of a call that it is
made from.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from models.roofline import Copy, Gemm, integers, squares
from paritygate.core.case import Target
from paritygate.core.record import Record, Run, Status
from paritygate.runtime import facts
from paritygate.timing.roofline import Achieved, achieved, roofs
from paritygate_reports.view.sections import sections
from suites.test_roofline import CASES

RUN = Run("1a2b3c4d", "2026-11-22T00:00:00+00:00", "quick", laboratory=True, seed=0)


def timed(
    case: str,
    dtype: str = "fp32",
    device: str = "cuda",
    seconds: float = 1.0,
    flops: float | None = None,
    moved: float | None = None,
) -> Record:
    target = f"{device}-eager-{dtype}"
    return Record(
        f"{case}-s-{target}",
        case,
        "s",
        device,
        "eager",
        dtype,
        Status.OK,
        throughput=1 / seconds,
        latency_p50=seconds,
        flops=None if flops is None else int(flops),
        facts={} if moved is None else {"bytes": int(moved)},
    )


GEMM = timed("roofline_gemm_large", flops=1e14, moved=1e11)
COPY = timed("roofline_copy_large", flops=0, moved=2e12)
CELL = timed("cnn", seconds=0.5, flops=2e13, moved=1e11)


def only(cell: Record, *others: Record) -> Achieved:
    (found,) = [one for one in achieved([cell, *others]) if one.cell == cell.cell]
    return found


@pytest.mark.parametrize(
    ("flops", "moved", "share", "limit"),
    [
        (2e13, 1e11, 0.4, "compute"),  # 0.2 s of products, 0.05 s of bytes, in half a second
        (2e13, 8e11, 0.8, "memory"),
        (0, 2e12, 2.0, "memory"),  # out of a cache
        (None, 8e11, None, None),  # it may be the products that take so long
        (2e13, None, None, None),
    ],
)
def test_a_share_is_the_least_time_over_the_time_it_took(flops, moved, share, limit):
    found = only(timed("cnn", seconds=0.5, flops=flops, moved=moved), GEMM, COPY)

    assert found.share == (None if share is None else pytest.approx(share))
    assert found.limit == limit
    assert found.flops == (None if flops is None else pytest.approx(flops / 0.5))
    assert found.bytes == (None if moved is None else pytest.approx(moved / 0.5))


@pytest.mark.parametrize(
    "roof",
    [
        (),
        (GEMM,),
        (COPY,),
        (replace(GEMM, device="cpu"), COPY),
        (GEMM, replace(COPY, device="cpu")),
        (replace(GEMM, dtype="bf16"), COPY),
    ],
)
def test_without_both_roofs_a_cell_has_no_share(roof):
    assert only(CELL, *roof) == Achieved(CELL.cell, 4e13, 2e11, None, None)


@pytest.mark.parametrize(
    ("dtype", "roof"), [("amp_bf16", "bf16"), ("amp_fp16", "fp16"), ("tf32", "tf32")]
)
def test_a_cell_is_held_against_the_products_of_its_dtype(dtype, roof):
    slow, fast = timed("roofline_gemm", flops=1e13), timed("roofline_gemm", dtype=roof, flops=1e15)

    assert only(
        timed("cnn", dtype=dtype, flops=5e14, moved=0), slow, fast, COPY
    ).share == pytest.approx(0.5)


def test_the_fastest_of_several_is_the_roof():
    again = timed("roofline_gemm", flops=9e14, seconds=0.1)
    failed = replace(timed("roofline_gemm", flops=1e18), status=Status.PARITY_FAILED)

    assert roofs([GEMM, again, failed, COPY, replace(COPY, latency_p50=2.0), CELL]).flops == {
        ("cuda", "fp32"): 9e15
    }
    assert roofs([GEMM, COPY, replace(COPY, latency_p50=2.0)]).bytes == {"cuda": 2e12}


def test_a_cell_of_which_nothing_is_known_is_left_out():
    unmeasured = replace(CELL, throughput=None, latency_p50=None)
    skipped = replace(CELL, status=Status.SKIPPED)

    assert achieved([timed("text"), unmeasured, skipped]) == []


def shown(*records: Record) -> list[str]:
    found = [section for section in sections(RUN, records) if section.title.startswith("achieved")]
    return [item.lead for section in found for item in section.items]


def test_a_run_with_a_roof_tells_what_every_cell_reached():
    assert shown(CELL, COPY) == [
        "cnn-s-cuda-eager-fp32: 40.0 TFLOP/s, 200 GB/s",
        "roofline_copy_large-s-cuda-eager-fp32: 2,000 GB/s, 100 %, limited by memory",
    ]
    assert (
        shown(CELL, GEMM, COPY)[0]
        == "cnn-s-cuda-eager-fp32: 40.0 TFLOP/s, 200 GB/s, 40 %, limited by compute"
    )
    assert shown(CELL) == []


# -- facts of a call


def test_the_least_traffic_is_of_every_tensor_once():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(8, 8, bias=False)
            self.same = self.one
            self.register_buffer("shift", torch.zeros(8, dtype=torch.int8))

    x, y = torch.rand(4, 8), torch.rand(4, 8, dtype=torch.float64)
    assert facts.min_bytes_moved(Shifted(), [x, x, 3], [y]) == 4 * (64 + 32) + 8 + 8 * 32


# -- its cells


def test_a_product_and_a_copy_are_what_they_say():
    one, other = squares({"n": 8}, torch.Generator().manual_seed(0))
    torch.testing.assert_close(Gemm()(one, other), one @ other)
    (x,) = integers({"mib": 1}, torch.Generator().manual_seed(0))
    model = Copy()
    first = model(x)
    assert x.nbytes == 1 << 20
    assert torch.equal(first, x)
    assert first.data_ptr() != x.data_ptr()
    assert model(x + 1).data_ptr() == first.data_ptr()


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("cpu-eager-fp32", {"roofline_gemm": "normal", "roofline_copy": "normal"}),
        ("cpu-eager-bf16", {"roofline_gemm": "normal", "roofline_copy": "normal"}),
        ("cuda-eager-tf32", {"roofline_gemm_large": "quick", "roofline_copy_large": "quick"}),
        ("cuda-eager-amp_bf16", {}),
        ("cuda-compile-fp32", {}),
    ],
)
def test_each_device_has_its_own_sizes_and_budgets(target, names):
    target = Target(*target.split("-"))
    wanted = [case for case in CASES if any(target.matches(pattern) for pattern in case.targets)]

    assert {case.name: case.all_shapes()[0].budget for case in wanted} == names
