"""Precision: how exactly float32 is multiplied. It is set alike for every backend of a cell, and
read back for the record.

This uses the older of torch 2.13's two interfaces: inductor refuses to compile once the newer one
was used (pytorch/pytorch#166387). The option ``use_tf32`` of onnxruntime follows from the dtype.
"""

from __future__ import annotations

from typing import Any

import torch


def apply(dtype_name: str) -> None:
    """Set the policy of a dtype: TF32 for ``tf32`` only. Sums of half precision stay in float32."""
    tf32 = dtype_name == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    # Eager and compiled code both search for the fastest convolution, as onnxruntime does
    # (EXHAUSTIVE).
    torch.backends.cudnn.benchmark = True
    matmul = torch.backends.cuda.matmul
    matmul.allow_fp16_reduced_precision_reduction = False
    matmul.allow_bf16_reduced_precision_reduction = False


def read_policy() -> dict[str, Any]:
    """Return the policy that is set now."""
    matmul = torch.backends.cuda.matmul
    return {
        "matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "reduced_precision_reduction": bool(
            matmul.allow_fp16_reduced_precision_reduction
            or matmul.allow_bf16_reduced_precision_reduction
        ),
    }
