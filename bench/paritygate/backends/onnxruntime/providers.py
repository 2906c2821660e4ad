"""Providers: the engines that ONNX Runtime must use, their options, and a check that it uses them.

It falls back to the CPU without an exception, for the whole model or for single nodes, so both are
checked. Options follow ONNX Runtime's documentation of the CUDA execution provider. All that matter
are set, since defaults change.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paritygate.backends.contract import BackendError, UnavailableError

if TYPE_CHECKING:
    from paritygate.runtime.subject import BoundCase

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
# libraries that onnxruntime's TensorRT provider is linked with
LIBRARIES = (
    "libnvinfer.so.10",
    "libnvonnxparser.so.10",
)
# Nodes that ONNX Runtime itself adds and puts on the CPU beside a GPU: arithmetic of shapes.
OF_SHAPES = {
    "Shape",
    "Size",
    "Gather",
    "Concat",
    "Unsqueeze",
    "Squeeze",
    "Slice",
    "Cast",
    "Constant",
}
# Options that are recorded as facts, with the values that the session reports.
RECORDED = ("use_tf32", "cudnn_conv_algo_search", "prefer_nhwc", "enable_cuda_graph")


def built_for_cuda() -> bool:
    """Return whether the files of the installed onnxruntime contain its CUDA provider; True where
    the files do not show it.
    """
    package = find_spec("onnxruntime")
    if sys.platform != "linux" or package is None or package.origin is None:
        return True
    return (Path(package.origin).parent / "capi" / "libonnxruntime_providers_cuda.so").exists()


def tensorrt_libraries() -> list[str]:
    """Return TensorRT's libraries in the form that the loader takes: names, or paths if pip
    installed them. Empty if there are none.
    """
    from ctypes.util import find_library

    folders = [
        Path(folder) for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder
    ]
    if find_library("nvinfer") == LIBRARIES[0] or any(
        (folder / LIBRARIES[0]).exists() for folder in folders
    ):
        return list(LIBRARIES)
    wheel = find_spec("tensorrt_libs")
    paths = [
        Path(folder) / name
        for folder in (wheel and wheel.submodule_search_locations) or ()
        for name in LIBRARIES
    ]
    return [str(path) for path in paths if path.exists()]


def wanted(subject: BoundCase, model: str = "") -> list[Any]:
    """Return the providers of a session, the one that must do the work first. ``model``: the file
    that the session opens.

    Raises ``UnavailableError`` if this build lacks a provider.
    """
    import onnxruntime

    if subject.device == "cpu":
        return [CPU]
    first = TENSORRT if subject.backend == "tensorrt" else CUDA
    if first not in onnxruntime.get_available_providers():
        raise UnavailableError(
            f"this onnxruntime is built without {first}; install onnxruntime-gpu instead of onnxruntime"
        )
    _require_one_cuda()
    chosen: list[Any] = [(CUDA, cuda(subject)), CPU]
    if first == TENSORRT:
        if subject.dtype_name != "tf32":
            os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # else TensorRT multiplies float32 in TF32
        for library in tensorrt_libraries():  # the provider does not search pip's folder
            ctypes.CDLL(library, ctypes.RTLD_GLOBAL)
        chosen.insert(0, (TENSORRT, tensorrt(subject, model)))
    return chosen


def _require_one_cuda() -> None:
    """Raise ``UnavailableError`` if onnxruntime and torch are built for different major releases of
    CUDA.
    """
    import torch
    from onnxruntime.capi import build_and_package_info

    theirs, ours = getattr(build_and_package_info, "cuda_version", ""), torch.version.cuda or ""
    if theirs and ours and theirs.partition(".")[0] != ours.partition(".")[0]:
        raise UnavailableError(
            f"onnxruntime is built for CUDA {theirs}, torch for {ours}; install builds for the same one"
        )


def cuda(subject: BoundCase) -> dict[str, str]:
    """Return the options of the CUDA provider. CUDA_VISIBLE_DEVICES has already chosen the
    device.
    """
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


def tensorrt(subject: BoundCase, model: str) -> dict[str, str]:
    """Return the options of the TensorRT provider. Its engines are cached beside the model, in one
    folder for each shape.

    It identifies an engine only by the names in a graph: other weights or sizes would get the wrong
    engine.
    """
    engines = Path(model).parent / "tensorrt" / subject.shape
    engines.mkdir(parents=True, exist_ok=True)
    return {
        "device_id": "0",
        "trt_fp16_enable": str(subject.dtype_name == "fp16"),
        "trt_bf16_enable": str(subject.dtype_name == "bf16"),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(engines),
    } | _stream(subject)


def _stream(subject: BoundCase) -> dict[str, str]:
    """Return the option for torch's stream if torch and ONNX Runtime share tensors; with numpy it
    uses its own stream.
    """
    shared = subject.stream is not None and subject.backend != "onnxruntime_host"
    return {"user_compute_stream": str(subject.stream)} if shared else {}


@contextmanager
def printed() -> Iterator[list[str]]:
    """Yield a list that holds, after the block, the lines written to standard error. C++ code
    reports its errors only there.
    """
    lines: list[str] = []
    sys.stderr.flush()
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            text = file.read()
            os.write(2, text)
            lines += text.decode(errors="replace").splitlines()


def check_session(session: Any, asked: list[Any], again: Callable[[], Any]) -> None:
    """Raise ``BackendError`` if the first provider is not the requested one.

    ``again`` opens another such session to read its error output. This is done only after a
    failure: a crash must reach the log.
    """
    first = asked[0] if isinstance(asked[0], str) else asked[0][0]
    if session.get_providers()[0] != first:
        with printed() as lines:
            again()
        why = next(
            (
                f" ({match[1]})"
                for line in lines
                if (match := re.search(r"with error: ([^\x1b]+)", line))
            ),
            "",
        )
        raise BackendError(
            f"fallback: {first} was requested, {session.get_providers()[0]} runs{why}"
        )


def placement(session: Any, asked: list[Any], floating: Mapping[str, bool]) -> dict[str, int]:
    """Return how many nodes each provider runs.

    ``floating``: names of exported nodes -> whether the node touches a floating number. Other nodes
    may stay on the CPU: sizes, positions and masks, which ONNX Runtime puts there on purpose.
    Raises ``BackendError`` if the requested provider does not do the work.
    """
    first = asked[0] if isinstance(asked[0], str) else asked[0][0]
    placed, on_cpu = Counter[str](), Counter[str]()
    for part in session.get_provider_graph_assignment_info():
        placed[part.ep_name] += len(part.get_nodes())
        if part.ep_name == CPU != first:
            works = (
                node.op_type
                for node in part.get_nodes()
                if floating.get(node.name, node.op_type not in OF_SHAPES)
            )
            on_cpu.update(works)
    if on_cpu:
        raise BackendError(f"fallback: {first} was requested, the CPU runs {dict(on_cpu)}")
    if not placed[first] or set(placed) - {first, CPU, *([CUDA] if first == TENSORRT else [])}:
        raise BackendError(f"fallback: nodes were placed on {dict(placed)}, {first} was requested")
    return dict(placed)


def session_options(session: Any, asked: list[Any]) -> dict[str, dict[str, str]]:
    """Return the options that change the results, by provider, with the values of the session.
    Pointers are left out.

    Raises ``BackendError`` if it multiplies float32 in another precision than requested.
    """
    options_of = {
        provider: {name: options[name] for name in RECORDED if name in options}
        for provider, options in session.get_provider_options().items()
    }
    for provider, options in (entry for entry in asked if not isinstance(entry, str)):
        wanted = options.get("use_tf32")
        if (
            wanted is not None
            and (has := options_of.get(provider, {}).get("use_tf32", wanted)) != wanted
        ):
            raise BackendError(f"fallback: {provider} has use_tf32={has}, {wanted} was requested")
    return {provider: options for provider, options in options_of.items() if options}
