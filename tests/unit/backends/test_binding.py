"""Tensors bound to ONNX Runtime, and its CUDA graphs, without a GPU: real sessions whose tensors
lie on the CPU.

The device and the provider are all that differs; bindings, outputs and dtypes are the real thing's.
"""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from paritygate.backends import onnxruntime as backend
from paritygate.backends.onnxruntime.binding import CAPTURED, ELEMENTS, Binder, Graph
from tests.support.fakes import subject


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
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def inputs(seed, rows=5):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=generator)
    return x, torch.rand(rows, 1, generator=generator) > 0.5, torch.arange(rows) + seed


def right(x, mask, index):
    w = torch.arange(12.0).reshape(4, 3)
    return [torch.where(mask, x @ w, 0.0), index * 2]


def equal(ours, theirs):
    return all(
        torch.allclose(a, b) and a.dtype == b.dtype for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime_graph"])
def test_bound_tensors_give_the_answers_to_each_input_set(session, name):
    prepared = backend.on_tensors(session, [0, 1, 2], dict, subject(name))
    feeds = [prepared.to_inputs(inputs(seed)) for seed in range(3)]

    for seed in (0, 1, 2, 0, 2):
        assert equal(prepared.to_tensors(prepared.call(feeds[seed])), right(*inputs(seed)))


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime_graph"])
def test_an_answer_that_was_read_is_not_written_over_by_the_next_call(session, name):
    prepared = backend.on_tensors(session, [0, 1, 2], dict, subject(name))
    feeds = [prepared.to_inputs(inputs(seed)) for seed in range(2)]
    first = prepared.to_tensors(prepared.call(feeds[0]))
    prepared.call(feeds[1])
    prepared.call(feeds[0])

    assert equal(first, right(*inputs(0)))


class Runs:
    """A session that notes its runs, and captures as ONNX Runtime does: in the first run that may,
    whatever is bound.

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
    """With a preprocess inputs are bound in every timed call, which must not run the model
    twice.
    """
    runs = Runs(session)
    binder = Binder(runs)
    for seed in range(3):
        bound = binder.bind(inputs(seed))
    assert len(runs.options) == 1
    assert [list(tensor.shape) for tensor in bound.outputs] == [[5, 3], [5]]

    assert [list(tensor.shape) for tensor in binder.bind(inputs(0, rows=2)).outputs] == [
        [2, 3],
        [2],
    ]
    assert len(runs.options) == 2


def test_sizes_that_follow_from_values_are_found_for_each_input_set():
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"])],
        "some",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [1, "u0"])],
    )
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
    prepared.call(prepared.to_inputs(inputs(0)))

    assert {found["disable_synchronize_execution_providers"] for found in runs.options} == {"1"}


def test_a_graph_tells_that_it_was_captured(session):
    prepared = backend.on_tensors(session, [0, 1, 2], dict, subject("onnxruntime_graph"))
    assert prepared.facts() == {"cuda_graph": False}
    prepared.call(prepared.to_inputs(inputs(0)))

    assert prepared.facts() == {"cuda_graph": True}
    assert not prepared.resizable


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.int32, torch.uint8, torch.float64]
)
def test_every_dtype_is_bound_as_what_it_is(dtype):
    element = ELEMENTS[dtype]
    info = [helper.make_tensor_value_info(name, element, ["n", 2]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Transpose", ["x"], ["y"], perm=[0, 1])], "same", info[:1], info[1:]
    )
    binder = Binder(opened(graph))
    x = torch.arange(6).reshape(3, 2).to(dtype)

    (answer,) = binder(binder.bind([x]))
    assert answer.dtype == dtype
    assert torch.equal(answer, x)


def test_inputs_that_are_not_contiguous_are_made_so(session):
    x, mask, index = inputs(0)
    prepared = backend.on_tensors(session, [0, 1, 2], dict, subject())
    sliced = (x.t().contiguous().t(), mask, index)

    assert equal(
        prepared.to_tensors(prepared.call(prepared.to_inputs(sliced))), right(x, mask, index)
    )


def test_inputs_that_the_graph_does_not_use_are_left_out(session):
    x, mask, index = inputs(0)
    prepared = backend.on_tensors(session, [1, 2, 3], dict, subject())

    answer = prepared.to_tensors(
        prepared.call(prepared.to_inputs((torch.zeros(9), x, mask, index)))
    )
    assert equal(answer, right(x, mask, index))
