"""Vector math of MKL, made ready before several threads can call it for the first time at once.

torch computes ``tanh``, ``exp``, ``sin`` and their like with MKL's vector math on CPUs of the x86
family, a chunk in each thread. MKL up to 2024.2 chooses the kernel of a function at its first call;
if threads make that call together, one of them can get the kernel of low accuracy: errors of 1e-4
in half of one answer, and never again in that process
(https://github.com/pytorch/pytorch/issues/188792; ``python -m bench.evidence.first_calls`` shows
how often).
"""

from __future__ import annotations

import torch

# Those that torch gives to MKL: IMPLEMENT_VML_MKL in include/ATen/cpu/vml.h of every torch.
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
FEW = 16  # elements: torch gives them to one thread


def preload() -> None:
    """Call each function once on a few numbers, so that its kernel is chosen by one thread."""
    for dtype in (torch.float32, torch.float64):
        few = torch.full((FEW,), 0.5, dtype=dtype)
        for name in FUNCTIONS:
            getattr(torch, name)(few)
