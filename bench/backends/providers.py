"""Providers: what ONNX Runtime is asked to run on, with which options, and whether it did.

It falls back to the CPU without an exception, as a whole or node by node, so both are looked at. Options follow its
documentation of the CUDA execution provider; all that matter are set, since defaults change.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from bench.backends import Misbehaved, Unavailable

if TYPE_CHECKING:
    from bench.subject import Subject

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
# What ONNX Runtime itself puts on the CPU beside a GPU: arithmetic of shapes, a few integers each.
OF_SHAPES = {"Shape", "Size", "Gather", "Concat", "Unsqueeze", "Squeeze", "Slice", "Cast", "Constant",
             "ConstantOfShape", "Range", "Equal", "Where"}  # fmt: skip


def wanted(subject: Subject) -> list[Any]:
    """The providers of a session, the one that is to do the work first; raises ``Unavailable`` for a lesser build."""
    import onnxruntime

    if subject.device == "cpu":
        return [CPU]
    first = TENSORRT if subject.backend == "tensorrt" else CUDA
    if first not in onnxruntime.get_available_providers():
        raise Unavailable(f"this onnxruntime is built without {first}; install onnxruntime-gpu instead of onnxruntime")
    chosen: list[Any] = [(CUDA, cuda(subject)), CPU]
    if first == TENSORRT:
        if subject.dtype_name != "tf32":
            os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # TensorRT multiplies float32 in TF32 unless the driver forbids it
        chosen.insert(0, (TENSORRT, tensorrt(subject)))
    return chosen


def cuda(subject: Subject) -> dict[str, str]:
    """Options of the CUDA provider. CUDA_VISIBLE_DEVICES has chosen the device."""
    options = {
        "device_id": "0",
        "use_tf32": str(int(subject.dtype_name == "tf32")),
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "cudnn_conv_use_max_workspace": "1",
        "arena_extend_strategy": "kSameAsRequested",
        "do_copy_in_default_stream": "1",
        "prefer_nhwc": "0",
        "enable_cuda_graph": str(int(subject.backend == "onnxruntime_graph")),
    }
    return options | _stream(subject)


def tensorrt(subject: Subject) -> dict[str, str]:
    """Options of the TensorRT provider: its engine is kept where other compiled code is."""
    return {
        "device_id": "0",
        "trt_fp16_enable": str(subject.dtype_name == "fp16"),
        "trt_bf16_enable": str(subject.dtype_name == "bf16"),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": f"{subject.cache}/tensorrt",
    } | _stream(subject)


def _stream(subject: Subject) -> dict[str, str]:
    """Torch's stream, where torch and ONNX Runtime share tensors; with numpy it has one of its own."""
    shared = subject.stream is not None and subject.backend != "onnxruntime_host"
    return {"user_compute_stream": str(subject.stream)} if shared else {}


def check_session(session: Any, asked: list[Any]) -> None:
    """Raise ``Misbehaved`` where another provider came first than was asked for."""
    first = asked[0] if isinstance(asked[0], str) else asked[0][0]
    if session.get_providers()[0] != first:
        raise Misbehaved(f"fallback: {first} was asked for, {session.get_providers()[0]} runs")


def placement(session: Any, asked: list[Any]) -> dict[str, int]:
    """How many nodes each provider runs; raises ``Misbehaved`` where the one asked for does not do the work."""
    first = asked[0] if isinstance(asked[0], str) else asked[0][0]
    placed, on_cpu = Counter[str](), Counter[str]()
    for part in session.get_provider_graph_assignment_info():
        placed[part.ep_name] += len(part.get_nodes())
        if part.ep_name == CPU != first:
            on_cpu.update(node.op_type for node in part.get_nodes() if node.op_type not in OF_SHAPES)
    if on_cpu:
        raise Misbehaved(f"fallback: {first} was asked for, the CPU runs {dict(on_cpu)}")
    if not placed[first] or set(placed) - {first, CPU, *([CUDA] if first == TENSORRT else [])}:
        raise Misbehaved(f"fallback: nodes were placed on {dict(placed)}, {first} was asked for")
    return dict(placed)
