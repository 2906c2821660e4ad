"""ONNX Runtime on a GPU's memory, without a GPU: real sessions whose bound tensors lie on the CPU, and what is refused.

The device and the provider are all that differs; bindings, outputs and dtypes are the real thing's.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import warnings
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from onnxruntime.capi import build_and_package_info

from bench import facts
from bench.backends import BACKENDS, Misbehaved, Unavailable, aoti, compiled, providers
from bench.backends import onnxruntime as backend
from bench.backends.binding import CAPTURED, ELEMENTS, Binder, Graph
from bench.case import Case, Target
from bench.devices import DEVICES
from bench.subject import Subject, call, flatten


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
    return opened(graph)


def opened(graph):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def inputs(seed, rows=5):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=generator)
    return x, torch.rand(rows, 1, generator=generator) > 0.5, torch.arange(rows) + seed


def right(x, mask, index):
    w = torch.arange(12.0).reshape(4, 3)
    return [torch.where(mask, x @ w, 0.0), index * 2]


def subject(name="onnxruntime", device="cpu", dtype="fp32", stream=4711, shape="b5"):
    return SimpleNamespace(backend=name, device=device, dtype_name=dtype, stream=stream, shape=shape)


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


class Runs:
    """A session that notes its runs, and captures as ONNX Runtime does: in the first run that may, whatever is bound.

    A CUDA graph goes on writing to the addresses of that run, so other ones must not come.
    """

    def __init__(self, session):
        self.options, self.captured, self._session = [], None, session
        self.get_inputs, self.get_outputs = session.get_inputs, session.get_outputs
        self.io_binding = session.io_binding

    def run_with_iobinding(self, binding, options):
        self.options.append(entries(options))
        self._session.run_with_iobinding(binding, options)
        if self.options[-1].get("gpu_graph_id") != "-1":
            bound = [value.data_ptr() for value in binding.get_outputs()]
            self.captured = self.captured or bound
            assert self.captured == bound, "replayed for other addresses than it was captured with"


def entries(options):
    """What is set of these options; one that is not raises."""
    found = {}
    for name in ("disable_synchronize_execution_providers", "gpu_graph_id"):
        with contextlib.suppress(RuntimeError):
            found[name] = options.get_run_config_entry(name)
    return found


def test_outputs_lie_where_they_lay_and_nothing_is_allocated_anew(session):
    binder = Binder(session)
    bound = binder.bind(inputs(0))
    before = [tensor.data_ptr() for tensor in bound.outputs]

    assert [tensor.data_ptr() for tensor in binder(bound)] == before


def test_shapes_of_outputs_cost_one_run_for_inputs_of_one_shape(session):
    """With a preprocess inputs are bound in every timed call, which must not run the model twice."""
    runs = Runs(session)
    binder = Binder(runs)
    for seed in range(3):
        bound = binder.bind(inputs(seed))
    assert len(runs.options) == 1
    assert [list(tensor.shape) for tensor in bound.outputs] == [[5, 3], [5]]

    assert [list(tensor.shape) for tensor in binder.bind(inputs(0, rows=2)).outputs] == [[2, 3], [2]]
    assert len(runs.options) == 2


def test_sizes_that_follow_from_values_are_found_for_each_input_set():
    graph = helper.make_graph([helper.make_node("NonZero", ["x"], ["y"])], "some",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
                              [helper.make_tensor_value_info("y", TensorProto.INT64, [1, "u0"])])  # fmt: skip
    binder = Binder(opened(graph))
    for x in (torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 0.0, 3.0])):
        assert torch.equal(binder(binder.bind([x]))[0], x.nonzero().t())


def test_a_graph_keeps_its_addresses_and_takes_inputs_by_copy(session):
    graph = Graph(Binder(session), list(inputs(0)))
    addresses = [tensor.data_ptr() for tensor in graph._bound.inputs]
    given = inputs(1)

    assert equal(graph(list(given)), right(*given))
    assert [tensor.data_ptr() for tensor in graph._bound.inputs] == addresses
    assert not {tensor.data_ptr() for tensor in given} & set(addresses)


def test_a_graph_is_captured_with_its_own_outputs(session):
    runs = Runs(session)
    graph = Graph(Binder(runs), list(inputs(0)))
    for seed in (1, 2):
        assert equal(graph(list(inputs(seed))), right(*inputs(seed)))

    assert [found.get("gpu_graph_id") for found in runs.options].count("-1") == 1
    assert len(runs.options) >= 1 + CAPTURED, "captured before it is checked"


def test_no_run_waits_for_its_end(session):
    runs = Runs(session)
    prepared = backend.on_tensors(runs, [0, 1, 2], dict, subject())
    prepared.call(prepared.feed(inputs(0)))

    assert {found["disable_synchronize_execution_providers"] for found in runs.options} == {"1"}


def test_a_graph_tells_that_it_was_captured(session):
    prepared = backend.on_tensors(session, [0, 1, 2], dict, subject("onnxruntime_graph"))
    assert prepared.facts() == {"cuda_graph": False}
    prepared.call(prepared.feed(inputs(0)))

    assert prepared.facts() == {"cuda_graph": True}
    assert not prepared.resizable


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int32, torch.uint8, torch.float64])
def test_every_dtype_is_bound_as_what_it_is(dtype):
    element = ELEMENTS[dtype]
    info = [helper.make_tensor_value_info(name, element, ["n", 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Transpose", ["x"], ["y"], perm=[0, 1])], "same", info[:1], info[1:])
    binder = Binder(opened(graph))
    x = torch.arange(6).reshape(3, 2).to(dtype)

    (answer,) = binder(binder.bind([x]))
    assert answer.dtype == dtype
    assert torch.equal(answer, x)


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


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime_host", "onnxruntime_graph"])
def test_options_of_the_provider_that_change_what_is_computed_are_all_given(name):
    given = providers.cuda(subject(name, "cuda"))
    assert {name: given[name] for name in ("device_id", "cudnn_conv_algo_search", "arena_extend_strategy",
                                           "do_copy_in_default_stream", "prefer_nhwc")} == {
        "device_id": "0", "cudnn_conv_algo_search": "EXHAUSTIVE", "arena_extend_strategy": "kSameAsRequested",
        "do_copy_in_default_stream": "1", "prefer_nhwc": "0"}  # fmt: skip


@pytest.fixture
def with_tensorrt(monkeypatch):
    """The libraries that were loaded, on a machine that seems to have TensorRT."""
    loaded = []
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [providers.TENSORRT, providers.CUDA])
    monkeypatch.setattr(providers, "tensorrt_libraries", lambda: ["/wheel/libnvinfer.so.10"])
    monkeypatch.setattr(providers.ctypes, "CDLL", lambda path, mode: loaded.append(path))
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    return loaded


@pytest.mark.parametrize(("dtype", "override"), [("fp32", "0"), ("tf32", "1")])
def test_tensorrt_comes_first_and_rounds_to_tf32_only_where_asked(with_tensorrt, tmp_path, dtype, override):
    asked = providers.wanted(subject("tensorrt", "cuda", dtype), str(tmp_path / "model.onnx"))

    assert [one if isinstance(one, str) else one[0] for one in asked] == [
        providers.TENSORRT, providers.CUDA, providers.CPU]  # fmt: skip
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == override
    assert with_tensorrt == ["/wheel/libnvinfer.so.10"]


def test_engines_of_other_weights_and_other_shapes_lie_elsewhere(tmp_path):
    """TensorRT's provider names an engine by the graph's names alone."""
    folders = {providers.tensorrt(subject("tensorrt", "cuda", shape=shape), f"{tmp_path}/{model}/model.onnx")
               ["trt_engine_cache_path"] for model in "ab" for shape in ("b1", "b8")}  # fmt: skip
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
    assert providers.tensorrt_libraries() == [str(tmp_path / "tensorrt_libs" / name) for name in providers.LIBRARIES]
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{tmp_path / 'tensorrt_libs'}")
    assert providers.tensorrt_libraries() == list(providers.LIBRARIES)


def test_a_build_for_cpus_is_no_fallback_but_unavailable(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [providers.CPU])
    with pytest.raises(Unavailable, match="without CUDAExecutionProvider; install onnxruntime-gpu"):
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

    with contextlib.nullcontext() if fits else pytest.raises(Unavailable, match=r"for CUDA 13\.0, torch for 12\.8"):
        providers._require_one_cuda()


def test_on_a_cpu_only_the_cpu_is_asked_for():
    assert providers.wanted(subject()) == [providers.CPU]


def test_a_session_that_came_up_on_another_provider_misbehaved(session):
    with pytest.raises(Misbehaved, match="fallback: CUDAExecutionProvider was asked for, CPUExecutionProvider runs"):
        providers.check_session(session, [(providers.CUDA, {}), providers.CPU], list)


def test_the_real_provider_falls_back_here_and_it_is_told_why():
    """onnxruntime-gpu without the libraries of its CUDA: no exception of its own, but a line that is printed."""
    if providers.CUDA not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime is a build for CPUs")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    asked = [(providers.CUDA, providers.cuda(subject(device="cuda", stream=None))), providers.CPU]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "one",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()

    def session():
        return onnxruntime.InferenceSession(model, providers=asked, enable_fallback=0)

    with pytest.raises(Misbehaved, match=r"CPUExecutionProvider runs \(lib\w+\.so\.\d+: cannot open shared object"):
        providers.check_session(session(), asked, session)


def test_what_is_printed_is_known_and_printed_all_the_same(capfd):
    with providers.printed() as lines:
        os.write(2, b"from C++\n")
    assert lines == ["from C++"]
    assert capfd.readouterr().err == "from C++\n"


def placed(**nodes):
    """A session that has put these operators on these providers; after a colon comes a node's name."""
    parts = [
        SimpleNamespace(
            ep_name=f"{name}ExecutionProvider",
            get_nodes=lambda kinds=kinds: [
                SimpleNamespace(op_type=kind.partition(":")[0], name=kind.partition(":")[2]) for kind in kinds
            ],
        )
        for name, kinds in nodes.items()
    ]
    return SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)


ON_CUDA: list[Any] = [(providers.CUDA, {}), providers.CPU]
ON_TENSORRT: list[Any] = [(providers.TENSORRT, {}), (providers.CUDA, {}), providers.CPU]
FLOATING = {"embedding": True, "row": False, "positions": False}


def test_arithmetic_of_shapes_and_other_integers_may_stay_on_the_cpu():
    session = placed(CUDA=["MatMul", "Gather:embedding"], CPU=["Shape", "Gather:row", "Max:positions", "Gather"])
    assert providers.placement(session, ON_CUDA, FLOATING) == {providers.CUDA: 2, providers.CPU: 4}


@pytest.mark.parametrize(("nodes", "asked", "told"), [
    ({"CUDA": ["MatMul"], "CPU": ["Softmax", "Shape"]}, ON_CUDA, "the CPU runs {'Softmax': 1}"),
    ({"CUDA": ["MatMul"], "CPU": ["Gather:embedding", "Gather:row"]}, ON_CUDA, "the CPU runs {'Gather': 1}"),
    ({"CUDA": ["MatMul"], "Tensorrt": ["TRT"], "CPU": ["Resize"]}, ON_TENSORRT, "the CPU runs {'Resize': 1}"),
    ({"CPU": ["Shape"]}, ON_CUDA, "nodes were placed on {'CPUExecutionProvider': 1}"),
    ({"CUDA": ["MatMul"]}, ON_TENSORRT, "TensorrtExecutionProvider was asked for"),
    ({"CUDA": ["MatMul"], "ROCM": ["MatMul"]}, ON_CUDA, "nodes were placed on"),
])  # fmt: skip
def test_work_that_another_provider_does_is_a_fallback(nodes, asked, told):
    with pytest.raises(Misbehaved, match="fallback: ") as misbehaved:
        providers.placement(placed(**nodes), asked, FLOATING)
    assert told in str(misbehaved.value)


def test_tensorrt_may_leave_nodes_to_cuda():
    assert providers.placement(placed(Tensorrt=["TRT"], CUDA=["MatMul"]), ON_TENSORRT, {})[providers.TENSORRT] == 1


def test_options_are_told_as_the_session_has_them_without_its_pointers():
    options = {"use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE", "user_compute_stream": "4711"}
    session = SimpleNamespace(get_provider_options=lambda: {providers.CUDA: options, providers.CPU: {}})
    told = {providers.CUDA: {"use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"}}
    assert providers.told(session, [(providers.CUDA, {"use_tf32": "0"}), providers.CPU]) == told
    with pytest.raises(Misbehaved, match="CUDAExecutionProvider has use_tf32=0, 1 was asked for"):
        providers.told(session, [(providers.CUDA, {"use_tf32": "1"}), providers.CPU])


# -- exports


class Here(Subject):
    """A subject of a device by name alone: its tensors lie on the CPU."""

    def module(self):
        return self.on_cpu().build()

    def cast(self, inputs):
        return self.on_cpu().cast(inputs)

    def on_cpu(self):
        return Subject.of({given.name: getattr(self, given.name) for given in fields(self)} | {"device": "cpu"})


@pytest.fixture(scope="module", name="exported")
def _exported(tmp_path_factory):
    """Exports tiny BERT for a device and a dtype: its subject, and what is told of the file."""

    @functools.cache
    def export(device="cpu", dtype="fp32"):
        folder = str(tmp_path_factory.mktemp("export"))
        case = Case("bert", model="models.bert:tiny", inputs="models.bert:padded_mask", mask="attention_mask",
                    shapes={"short": {"batch": 2, "seq": 16}, "long": {"batch": 3, "seq": 24}})  # fmt: skip
        given = Here(case.as_dict(), "short", device, dtype, backend="", folder=folder, cache=folder, seed=0, threads=1)
        given.scratch.save("meta", {"weights": ""})
        given.scratch.save("inputs", [given.make_inputs(number) for number in range(2)])
        with warnings.catch_warnings(action="ignore"):
            return given, json.loads(json.dumps(backend.artefact(given)))

    return export


def test_an_export_tells_which_nodes_touch_numbers_and_which_only_positions(exported):
    _, meta = exported()
    floating = meta["floating"]
    kinds = {}
    for node in onnx.load(meta["path"]).graph.node:
        kinds.setdefault(node.op_type, set()).add(floating[node.name])

    assert all(kinds[kind] == {True} for kind in ("MatMul", "Add", "LayerNormalization"))
    assert all(kinds[kind] == {False} for kind in ("Shape", "Range", "Max", "Concat"))
    assert True in kinds["Gather"], "the embedding"


def test_what_the_optimisers_of_a_processor_leave_is_no_fact_of_a_gpu(exported):
    _, meta = exported("cuda", "bf16")

    assert not {"optimised_nodes", "fusions"} & set(meta)
    assert "optimised_nodes" in exported()[1]
    assert meta["nodes"]["MatMul"] > 0
    assert {path.name for path in Path(meta["path"]).parent.iterdir()} == {"model.onnx", "meta.json"}


def test_opened_for_one_shape_no_arithmetic_of_shapes_is_left(exported, monkeypatch):
    """It would run on the CPU, and with a copy between the two there is no CUDA graph."""
    given, meta = exported()
    left, answers = {}, {}
    for name in ("onnxruntime", "onnxruntime_graph"):
        given.backend = name
        given.scratch.save_artefact(name, meta)
        prepared = backend.prepare(given)
        kinds = [node.op_type for part in prepared.model.get_provider_graph_assignment_info() for node in
                 part.get_nodes()]  # fmt: skip
        left[name] = {"Shape", "Range", "Max"} & set(kinds)
        answers[name] = prepared.read(prepared.call(prepared.feed(given.inputs()[1])))

    assert left == {"onnxruntime": {"Shape", "Range", "Max"}, "onnxruntime_graph": set()}
    with torch.no_grad():
        expected = flatten(call(given.module(), given.inputs()[1]))
    for found in answers.values():
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))


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
    ("cuda-tensorrt-fp32", "TensorRT (libnvinfer.so.10) is not installed"),
])  # fmt: skip
def test_what_a_target_lacks_is_told_before_anything_is_loaded(target, reason, monkeypatch):
    monkeypatch.setattr(providers, "tensorrt_libraries", list)
    found = backend.available(Target(*target.split("-")))

    assert found is None if reason is None else reason in found


def test_every_way_is_a_backend_that_is_asked_for_by_name():
    ways = [BACKENDS[name] for name in ("onnxruntime_host", "onnxruntime_graph", "tensorrt")]
    assert not any(way.default for way in ways)
    assert {way.module for way in ways} == {"bench.backends.onnxruntime"}


class Counters:
    def __init__(self, **found):
        self.found = {"graph_breaks": 0, "graph_break_reasons": {}, "graphs": 1, "cudagraph_skips": 0,
                      "cudagraph_skip_reasons": ["mutated inputs"]} | found  # fmt: skip

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
        with pytest.raises(Misbehaved, match=r"fallback: CUDA graphs were skipped 2 times \(mutated inputs\)"):
            prepared.facts()
    else:
        prepared.facts()


def test_reasons_why_cuda_graphs_were_skipped_are_told(monkeypatch):
    told = [SimpleNamespace(cudagraph_skip_reason=reason) for reason in ("mutated inputs", None, "mutated inputs")]
    counters = facts.CompileCounters()
    assert counters.facts()["cudagraph_skip_reasons"] == []
    monkeypatch.setattr(counters, "_metrics", lambda: told)
    assert counters.facts()["cudagraph_skip_reasons"] == ["mutated inputs"]


def test_a_package_is_kept_whatever_else_changes_on_the_gpu(exported, monkeypatch):
    given, _ = exported()
    known = {"gpu": "NVIDIA H100", "gpu_capability": "9.0", "gpu_uuid": "one", "torch_peak_bytes": 1}

    def key(**changes):
        monkeypatch.setitem(DEVICES, "cpu", lambda: SimpleNamespace(facts=lambda: known | changes))
        return aoti._key(given)

    assert key() == key(torch_peak_bytes=2, gpu_uuid="another")
    assert key() != key(gpu="NVIDIA H200")
