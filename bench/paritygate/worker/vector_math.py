"""Vector math of MKL: call it once before several threads can make the first call at the same time.

On CPUs of the x86 family torch computes ``tanh``, ``exp``, ``sin`` and similar functions with MKL's
vector math, one chunk in each thread. MKL up to 2024.2 chooses the kernel of a function at its
first call. If threads make that call together, one of them can get the kernel of low accuracy. Half
of one answer then has errors of 1e-4, and this never happens again in that process
(https://github.com/pytorch/pytorch/issues/188792; ``python -m bench.evidence.first_calls`` shows
how often).
"""

from __future__ import annotations

import torch

# The functions that torch gives to MKL: IMPLEMENT_VML_MKL in include/ATen/cpu/vml.h of every torch.
FUNCTIONS = (
    "acos",
    "asin",
    "atan",
    "cos",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "log",
    "log10",
    "log2",
    "sin",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
)
FEW = 16  # elements: so few that torch uses one thread


def preload() -> None:
    """Call each function once on a few numbers, so that its kernel is chosen by one thread."""
    for dtype in (torch.float32, torch.float64):
        few = torch.full((FEW,), 0.5, dtype=dtype)
        for name in FUNCTIONS:
            getattr(torch, name)(few)
