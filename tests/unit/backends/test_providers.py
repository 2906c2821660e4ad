"""Execution providers: the options they get, how they are found, and what is refused where they do
not do the work.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from onnxruntime.capi import build_and_package_info

from paritygate.backends import BackendError, UnavailableError
from paritygate.backends import onnxruntime as backend
from paritygate.backends.onnxruntime import providers
from paritygate.core.case import Target
from tests.support.fakes import subject


@pytest.mark.parametrize(("dtype", "tf32"), [("fp32", "0"), ("tf32", "1"), ("bf16", "0")])
def test_the_provider_computes_as_exactly_as_torch(dtype, tf32):
    assert providers.cuda(subject(device="cuda", dtype=dtype))["use_tf32"] == tf32


def test_it_works_on_torchs_stream_but_with_numpy():
    assert providers.cuda(subject(device="cuda"))["user_compute_stream"] == "4711"
    assert "user_compute_stream" not in providers.cuda(subject("onnxruntime_host", "cuda"))


def test_a_graph_is_asked_for_by_its_backend_alone():
    asked = {
        name: providers.cuda(subject(name, "cuda"))["enable_cuda_graph"]
        for name in ("onnxruntime", "onnxruntime_host", "onnxruntime_graph")
    }
    assert asked == {"onnxruntime": "0", "onnxruntime_host": "0", "onnxruntime_graph": "1"}


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime_host", "onnxruntime_graph"])
def test_options_of_the_provider_that_change_what_is_computed_are_all_given(name):
    given = providers.cuda(subject(name, "cuda"))
    assert {
        name: given[name]
        for name in (
            "device_id",
            "cudnn_conv_algo_search",
            "arena_extend_strategy",
            "do_copy_in_default_stream",
            "prefer_nhwc",
        )
    } == {
        "device_id": "0",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "arena_extend_strategy": "kSameAsRequested",
        "do_copy_in_default_stream": "1",
        "prefer_nhwc": "0",
    }


@pytest.fixture
def with_tensorrt(monkeypatch):
    """The libraries that were loaded, on a machine that seems to have TensorRT."""
    loaded = []
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: [providers.TENSORRT, providers.CUDA]
    )
    monkeypatch.setattr(providers, "tensorrt_libraries", lambda: ["/wheel/libnvinfer.so.10"])
    monkeypatch.setattr(providers.ctypes, "CDLL", lambda path, mode: loaded.append(path))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    return loaded


@pytest.mark.parametrize(("dtype", "override"), [("fp32", "0"), ("tf32", "1")])
def test_tensorrt_comes_first_and_rounds_to_tf32_only_where_asked(
    with_tensorrt, tmp_path, dtype, override
):
    asked = providers.wanted(subject("tensorrt", "cuda", dtype), str(tmp_path / "model.onnx"))

    assert [one if isinstance(one, str) else one[0] for one in asked] == [
        providers.TENSORRT,
        providers.CUDA,
        providers.CPU,
    ]
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == override
    assert with_tensorrt == ["/wheel/libnvinfer.so.10"]


def test_engines_of_other_weights_and_other_shapes_lie_elsewhere(tmp_path):
    """TensorRT's provider names an engine by the graph's names alone."""
    folders = {
        providers.tensorrt(
            subject("tensorrt", "cuda", shape=shape), f"{tmp_path}/{model}/model.onnx"
        )["trt_engine_cache_path"]
        for model in "ab"
        for shape in ("b1", "b8")
    }
    assert len(folders) == 4
    assert all(Path(folder).is_dir() for folder in folders)


def test_tensorrt_is_found_where_pip_put_it(monkeypatch, tmp_path):
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert providers.tensorrt_libraries() == []

    (tmp_path / "tensorrt_libs").mkdir()
    for name in ("__init__.py", "libnvinfer.so.10", "libnvonnxparser.so.10"):
        (tmp_path / "tensorrt_libs" / name).touch()
    assert providers.tensorrt_libraries() == [
        str(tmp_path / "tensorrt_libs" / name) for name in providers.LIBRARIES
    ]
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{tmp_path / 'tensorrt_libs'}")
    assert providers.tensorrt_libraries() == list(providers.LIBRARIES)


def test_a_build_for_cpus_is_no_fallback_but_unavailable(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [providers.CPU])
    with pytest.raises(
        UnavailableError, match="without CUDAExecutionProvider; install onnxruntime-gpu"
    ):
        providers.wanted(subject(device="cuda"))


def test_a_build_for_cpus_is_told_before_any_model_is_exported(monkeypatch, tmp_path):
    assert providers.built_for_cuda() == (build_and_package_info.package_name == "onnxruntime-gpu")
    (tmp_path / "capi").mkdir()
    found = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(providers, "find_spec", lambda name: found)

    assert "built without CUDA" in backend.available(Target("cuda", "onnxruntime", "fp32"))
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").touch()
    assert backend.available(Target("cuda", "onnxruntime", "fp32")) is None


@pytest.mark.parametrize(("ours", "fits"), [("13.2", True), ("12.8", False), (None, True)])
def test_builds_for_different_releases_of_cuda_do_not_go_together(monkeypatch, ours, fits):
    monkeypatch.setattr(torch.version, "cuda", ours)
    monkeypatch.setattr(build_and_package_info, "cuda_version", "13.0", raising=False)

    with (
        contextlib.nullcontext()
        if fits
        else pytest.raises(UnavailableError, match=r"for CUDA 13\.0, torch for 12\.8")
    ):
        providers._require_one_cuda()


def test_on_a_cpu_only_the_cpu_is_asked_for():
    assert providers.wanted(subject()) == [providers.CPU]


@pytest.fixture(scope="module", name="open_session")
def _open_session():
    """Opens a real session of one node on the providers that are asked for, as the backend does."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    ).SerializeToString()
    return lambda asked: onnxruntime.InferenceSession(model, providers=asked, enable_fallback=0)


def test_a_session_that_came_up_on_another_provider_misbehaved(open_session):
    with pytest.raises(
        BackendError,
        match="fallback: CUDAExecutionProvider was requested, CPUExecutionProvider runs",
    ):
        providers.check_session(
            open_session([providers.CPU]), [(providers.CUDA, {}), providers.CPU], list
        )


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA works here: nothing falls back")
@pytest.mark.skipif(
    providers.CUDA not in onnxruntime.get_available_providers(),
    reason="a build for CPUs has no CUDA provider that could fall back",
)
def test_the_real_provider_falls_back_here_and_it_is_told_why(open_session):
    """onnxruntime-gpu without the libraries of its CUDA: no exception of its own, but a line that
    is printed.
    """
    asked = [(providers.CUDA, providers.cuda(subject(device="cuda", stream=None))), providers.CPU]

    with pytest.raises(
        BackendError,
        match=r"CPUExecutionProvider runs \(lib\w+\.so\.\d+: cannot open shared object",
    ):
        providers.check_session(open_session(asked), asked, lambda: open_session(asked))


def test_what_is_printed_is_known_and_printed_all_the_same(capfd):
    with providers.printed() as lines:
        os.write(2, b"from C++\n")
    assert lines == ["from C++"]
    assert capfd.readouterr().err == "from C++\n"


def placed(**nodes):
    """A session that has put these operators on these providers; after a colon comes a node's
    name.
    """
    parts = [
        SimpleNamespace(
            ep_name=f"{name}ExecutionProvider",
            get_nodes=lambda kinds=kinds: [
                SimpleNamespace(op_type=kind.partition(":")[0], name=kind.partition(":")[2])
                for kind in kinds
            ],
        )
        for name, kinds in nodes.items()
    ]
    return SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)


ON_CUDA: list[Any] = [(providers.CUDA, {}), providers.CPU]
ON_TENSORRT: list[Any] = [(providers.TENSORRT, {}), (providers.CUDA, {}), providers.CPU]
FLOATING = {"embedding": True, "row": False, "positions": False}


def test_arithmetic_of_shapes_and_other_integers_may_stay_on_the_cpu():
    session = placed(
        CUDA=["MatMul", "Gather:embedding"], CPU=["Shape", "Gather:row", "Max:positions", "Gather"]
    )
    assert providers.placement(session, ON_CUDA, FLOATING) == {providers.CUDA: 2, providers.CPU: 4}


@pytest.mark.parametrize(
    ("nodes", "asked", "told"),
    [
        ({"CUDA": ["MatMul"], "CPU": ["Softmax", "Shape"]}, ON_CUDA, "the CPU runs {'Softmax': 1}"),
        (
            {"CUDA": ["MatMul"], "CPU": ["Gather:embedding", "Gather:row"]},
            ON_CUDA,
            "the CPU runs {'Gather': 1}",
        ),
        (
            {"CUDA": ["MatMul"], "Tensorrt": ["TRT"], "CPU": ["Resize"]},
            ON_TENSORRT,
            "the CPU runs {'Resize': 1}",
        ),
        ({"CPU": ["Shape"]}, ON_CUDA, "nodes were placed on {'CPUExecutionProvider': 1}"),
        ({"CUDA": ["MatMul"]}, ON_TENSORRT, "TensorrtExecutionProvider was requested"),
        ({"CUDA": ["MatMul"], "ROCM": ["MatMul"]}, ON_CUDA, "nodes were placed on"),
    ],
)
def test_work_that_another_provider_does_is_a_fallback(nodes, asked, told):
    with pytest.raises(BackendError, match="fallback: ") as misbehaved:
        providers.placement(placed(**nodes), asked, FLOATING)
    assert told in str(misbehaved.value)


def test_tensorrt_may_leave_nodes_to_cuda():
    assert (
        providers.placement(placed(Tensorrt=["TRT"], CUDA=["MatMul"]), ON_TENSORRT, {})[
            providers.TENSORRT
        ]
        == 1
    )


def test_options_are_told_as_the_session_has_them_without_its_pointers():
    options = {
        "use_tf32": "0",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "user_compute_stream": "4711",
    }
    session = SimpleNamespace(
        get_provider_options=lambda: {providers.CUDA: options, providers.CPU: {}}
    )
    told = {providers.CUDA: {"use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"}}
    assert (
        providers.session_options(session, [(providers.CUDA, {"use_tf32": "0"}), providers.CPU])
        == told
    )
    with pytest.raises(BackendError, match="CUDAExecutionProvider has use_tf32=0, 1 was requested"):
        providers.session_options(session, [(providers.CUDA, {"use_tf32": "1"}), providers.CPU])
