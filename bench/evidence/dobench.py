"""Print the seconds of cells by ``triton.testing.do_bench``, as JSON: a second clock for cells that
are timed with a cold cache.

    python -m bench.evidence.dobench attn_cuda_flash_causal-b8_h16_s1024_d128-cuda-eager-bf16 ...

Builds model and inputs as a worker does, in a process without any other part of the harness. The
result is the median time of the calls of half a second, with the L2 flushed before each.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from typing import Any

import torch

from evidence import command_line
from paritygate.core.case import Case
from paritygate.runtime.devices import DEVICES
from paritygate.runtime.modes import mode_of
from paritygate.runtime.precision import apply
from paritygate.runtime.subject import BoundCase

SUITES = ("suites.test_attention_cuda", "suites.test_roofline")
WARM_MS, MEASURED_MS = 500, 500


def main() -> None:
    """Print a JSON object: cell -> seconds."""
    parser = command_line.parser()
    parser.add_argument("cell", nargs="+", help="the id of a cell on CUDA in eager")
    chosen = parser.parse_args().cell
    cases = {case.name: case for suite in SUITES for case in importlib.import_module(suite).CASES}
    times = {}
    for cell in chosen:
        case, shape, device, _, dtype = cell.split("-")
        times[cell] = seconds(cases[case], shape, device, dtype)
    print(json.dumps(times))


def seconds(case: Case, shape: str, device: str, dtype: str) -> float:
    """Return the median time of a call in eager."""
    from triton import testing

    apply(dtype)
    with tempfile.TemporaryDirectory() as folder, DEVICES[device]().guard():
        task: dict[str, Any] = {
            "case": case.as_dict(),
            "shape": shape,
            "device": device,
            "dtype_name": dtype,
            "backend": "eager",
            "folder": folder,
            "cache": folder,
            "seed": 0,
            "threads": torch.get_num_threads(),
        }
        subject = BoundCase.from_task(task)
        mode = mode_of(subject, subject.build())
        fed = mode.to_inputs(subject.make_inputs(0))
        with mode.context():
            milliseconds = testing.do_bench(
                lambda: mode(fed), warmup=WARM_MS, rep=MEASURED_MS, return_mode="median"
            )
    return float(milliseconds) / 1e3


if __name__ == "__main__":
    main()
