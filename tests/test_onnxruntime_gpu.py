"""ONNX Runtime on a GPU's memory, without a GPU: real sessions whose bound tensors lie on the CPU, and what is refused.

The device and the provider are all that differs; bindings, outputs and dtypes are the real thing's.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from bench.backends import BACKENDS, Misbehaved, Unavailable, compiled, providers
from bench.backends import onnxruntime as backend
from bench.backends.binding import Binder, Graph
from bench.case import Target


@pytest.fixture(scope="module", name="session")
def _session():
    """where(mask, x @ w, 0), and the index doubled: a float, a bool and an integer input."""
    w = np.arange(12, dtype=np.float32).reshape(4, 3)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["product"]),
            helper.make_node("Where", ["mask", "product", "zero"], ["y"]),
            helper.make_node("Add", ["index", "index"], ["twice"]),
        ],
        "masked",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4]),
            helper.make_tensor_value_info("mask", TensorProto.BOOL, ["n", 1]),
            helper.make_tensor_value_info("index", TensorProto.INT64, ["n"]),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("twice", TensorProto.INT64, ["n"]),
        ],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [4, 3], w.ravel()),
            helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def inputs(seed, rows=5):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=generator)
    return x, torch.rand(rows, 1, generator=generator) > 0.5, torch.arange(rows) + seed


def right(x, mask, index):
    w = torch.arange(12.0).reshape(4, 3)
    return [torch.where(mask, x @ w, 0.0), index * 2]


def subject(name="onnxruntime", device="cpu", dtype="fp32", stream=4711):
    return SimpleNamespace(backend=name, device=device, dtype_name=dtype, stream=stream, cache="/cache")


def equal(ours, theirs):
    return all(torch.allclose(a, b) and a.dtype == b.dtype for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime_graph"])
def test_bound_tensors_give_the_answers_to_each_input_set(session, name):
    prepared = backend.on_tensors(session, [0, 1, 2], dict, subject(name))
    feeds = [prepared.feed(inputs(seed)) for seed in range(3)]

    for seed in (0, 1, 2, 0, 2):
        assert equal(prepared.read(prepared.call(feeds[seed])), right(*inputs(seed)))


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime_graph"])
def test_an_answer_that_was_read_is_not_written_over_by_the_next_call(session, name):
    prepared = backend.on_tensors(session, [0, 1, 2], dict, subject(name))
    feeds = [prepared.feed(inputs(seed)) for seed in range(2)]
    first = prepared.read(prepared.call(feeds[0]))
    prepared.call(feeds[1])
    prepared.call(feeds[0])

    assert equal(first, right(*inputs(0)))


def test_outputs_lie_where_they_lay_and_nothing_is_allocated_anew(session):
    binder = Binder(session, None)
    bound = binder.bind(inputs(0))
    before = [tensor.data_ptr() for tensor in bound.outputs]

    assert [tensor.data_ptr() for tensor in binder(bound)] == before


def test_a_graph_keeps_its_addresses_and_takes_inputs_by_copy(session):
    graph = Graph(Binder(session, None), list(inputs(0)))
    addresses = [tensor.data_ptr() for tensor in graph._bound.inputs]
    given = inputs(1)

    assert equal(graph(list(given)), right(*given))
    assert [tensor.data_ptr() for tensor in graph._bound.inputs] == addresses
    assert not {tensor.data_ptr() for tensor in given} & set(addresses)


def test_inputs_that_are_not_contiguous_are_made_so(session):
    x, mask, index = inputs(0)
    prepared = backend.on_tensors(session, [0, 1, 2], dict, subject())
    sliced = (x.t().contiguous().t(), mask, index)

    assert equal(prepared.read(prepared.call(prepared.feed(sliced))), right(x, mask, index))


def test_inputs_that_the_graph_does_not_use_are_left_out(session):
    x, mask, index = inputs(0)
    prepared = backend.on_tensors(session, [1, 2, 3], dict, subject())

    answer = prepared.read(prepared.call(prepared.feed((torch.zeros(9), x, mask, index))))
    assert equal(answer, right(x, mask, index))


def test_runs_on_a_gpu_do_not_wait_for_it(session, monkeypatch):
    entries = {}

    class Options:
        def add_run_config_entry(self, name, value):
            entries[name] = value

    monkeypatch.setattr(onnxruntime, "RunOptions", Options)
    backend.on_tensors(session, [0, 1, 2], dict, subject(device="cuda"))
    assert entries == {"disable_synchronize_execution_providers": "1"}


@pytest.mark.parametrize(("dtype", "tf32"), [("fp32", "0"), ("tf32", "1"), ("bf16", "0")])
def test_the_provider_computes_as_exactly_as_torch(dtype, tf32):
    assert providers.cuda(subject(device="cuda", dtype=dtype))["use_tf32"] == tf32


def test_it_works_on_torchs_stream_but_with_numpy():
    assert providers.cuda(subject(device="cuda"))["user_compute_stream"] == "4711"
    assert "user_compute_stream" not in providers.cuda(subject("onnxruntime_host", "cuda"))


def test_a_graph_is_asked_for_by_its_backend_alone():
    asked = {name: providers.cuda(subject(name, "cuda"))["enable_cuda_graph"]
             for name in ("onnxruntime", "onnxruntime_host", "onnxruntime_graph")}  # fmt: skip
    assert asked == {"onnxruntime": "0", "onnxruntime_host": "0", "onnxruntime_graph": "1"}


def test_tensorrt_comes_first_and_may_not_round_to_tf32(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [providers.TENSORRT, providers.CUDA])
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    names = [asked if isinstance(asked, str) else asked[0] for asked in providers.wanted(subject("tensorrt", "cuda"))]

    assert names == [providers.TENSORRT, providers.CUDA, providers.CPU]
    import os

    assert os.environ.pop("NVIDIA_TF32_OVERRIDE") == "0"


def test_a_build_for_cpus_is_no_fallback_but_unavailable(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [providers.CPU])
    with pytest.raises(Unavailable, match="without CUDAExecutionProvider; install onnxruntime-gpu"):
        providers.wanted(subject(device="cuda"))


def test_on_a_cpu_only_the_cpu_is_asked_for():
    assert providers.wanted(subject()) == [providers.CPU]


def test_a_session_that_came_up_on_another_provider_misbehaved(session):
    with pytest.raises(Misbehaved, match="fallback: CUDAExecutionProvider was asked for, CPUExecutionProvider runs"):
        providers.check_session(session, [(providers.CUDA, {}), providers.CPU])


def test_the_real_provider_falls_back_here_and_that_is_noticed(session, tmp_path):
    """onnxruntime-gpu on a machine without a GPU: no exception of its own."""
    if providers.CUDA not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime is a build for CPUs")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    asked = [(providers.CUDA, providers.cuda(subject(device="cuda", stream=None))), providers.CPU]
    path = tmp_path / "one.onnx"
    node = helper.make_node("Relu", ["x"], ["y"])
    graph = helper.make_graph([node], "one", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])])  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    opened = onnxruntime.InferenceSession(str(path), providers=asked, enable_fallback=0)
    with pytest.raises(Misbehaved, match="fallback"):
        providers.check_session(opened, asked)


def placed(**nodes):
    """A session that has put these operators on these providers."""
    parts = [
        SimpleNamespace(
            ep_name=f"{name}ExecutionProvider",
            get_nodes=lambda kinds=kinds: [SimpleNamespace(op_type=kind) for kind in kinds],
        )
        for name, kinds in nodes.items()
    ]
    return SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)


ON_CUDA: list[Any] = [(providers.CUDA, {}), providers.CPU]
ON_TENSORRT: list[Any] = [(providers.TENSORRT, {}), (providers.CUDA, {}), providers.CPU]


def test_arithmetic_of_shapes_may_stay_on_the_cpu():
    found = providers.placement(placed(CUDA=["MatMul", "Add"], CPU=["Shape", "Gather"]), ON_CUDA)
    assert found == {providers.CUDA: 2, providers.CPU: 2}


@pytest.mark.parametrize(("nodes", "asked", "told"), [
    ({"CUDA": ["MatMul"], "CPU": ["Softmax", "Shape"]}, ON_CUDA, "the CPU runs {'Softmax': 1}"),
    ({"CPU": ["Shape"]}, ON_CUDA, "nodes were placed on {'CPUExecutionProvider': 1}"),
    ({"CUDA": ["MatMul"]}, ON_TENSORRT, "TensorrtExecutionProvider was asked for"),
    ({"CUDA": ["MatMul"], "ROCM": ["MatMul"]}, ON_CUDA, "nodes were placed on"),
])  # fmt: skip
def test_work_that_another_provider_does_is_a_fallback(nodes, asked, told):
    with pytest.raises(Misbehaved, match="fallback: ") as misbehaved:
        providers.placement(placed(**nodes), asked)
    assert told in str(misbehaved.value)


def test_tensorrt_may_leave_nodes_to_cuda():
    assert providers.placement(placed(Tensorrt=["TRT"], CUDA=["MatMul"]), ON_TENSORRT)[providers.TENSORRT] == 1


@pytest.mark.parametrize(("target", "reason"), [
    ("cpu-onnxruntime-fp32", None),
    ("cpu-onnxruntime-bf16", "no bf16 kernels"),
    ("cpu-onnxruntime_host-fp32", "on a CPU this is what onnxruntime does"),
    ("cpu-onnxruntime_graph-fp32", "needs a GPU"),
    ("cpu-tensorrt-fp32", "needs a GPU"),
    ("cuda-onnxruntime-bf16", None),
    ("cuda-onnxruntime_host-fp16", None),
    ("cuda-onnxruntime_host-bf16", "numpy has no bf16"),
    ("cuda-onnxruntime-amp_fp16", "autocast is torch's; ask for fp16"),
    ("cuda-tensorrt-fp32", "TensorRT (libnvinfer) is not installed"),
])  # fmt: skip
def test_what_a_target_lacks_is_told_before_anything_is_loaded(target, reason, monkeypatch):
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    found = backend.available(Target(*target.split("-")))

    assert found is None if reason is None else reason in found


def test_every_way_is_a_backend_that_is_asked_for_by_name():
    ways = [BACKENDS[name] for name in ("onnxruntime_host", "onnxruntime_graph", "tensorrt")]
    assert not any(way.default for way in ways)
    assert {way.module for way in ways} == {"bench.backends.onnxruntime"}


class Counters:
    def __init__(self, **found):
        self.found = {"graph_breaks": 0, "graph_break_reasons": {}, "graphs": 1, "cudagraph_skips": 0} | found

    def facts(self):
        return dict(self.found)

    def cold(self):
        return False


@pytest.mark.parametrize(("name", "device", "marks"), [
    ("compile_reduce_overhead", "cuda", 2), ("compile_max_autotune", "cuda", 2), ("compile", "cuda", 0),
    ("compile_max_autotune", "cpu", 0),
])  # fmt: skip
def test_cuda_graphs_are_told_of_each_step_and_may_not_be_skipped(monkeypatch, name, device, marks):
    marked = []
    monkeypatch.setattr(torch, "compile", lambda module, **options: module)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marked.append(1))
    monkeypatch.setattr("bench.facts.CompileCounters", lambda: Counters(cudagraph_skips=marks))
    model = torch.nn.Linear(4, 2)
    given = subject(name, device)
    given.module, given.case = lambda: model, {"graph_breaks": 0, "mode": "inference"}
    prepared = compiled.prepare(given)
    for _ in range(2):
        prepared.call((torch.zeros(1, 4),))

    assert len(marked) == marks
    if name == "compile_reduce_overhead":
        with pytest.raises(Misbehaved, match="fallback: CUDA graphs were skipped 2 times"):
            prepared.facts()
    else:
        prepared.facts()
