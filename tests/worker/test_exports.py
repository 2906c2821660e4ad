"""Exports for a GPU, without one: real exports and sessions of a subject that is of a device by
name alone.
"""

from __future__ import annotations

import functools
import json
import warnings
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
import torch

from paritygate.backends import BACKENDS, UnavailableError, aoti
from paritygate.backends import onnxruntime as backend
from paritygate.backends.onnxruntime import providers
from paritygate.core.case import Case, Target
from paritygate.runtime.devices import DEVICES
from paritygate.runtime.nest import flatten
from paritygate.runtime.subject import BoundCase, call


class Here(BoundCase):
    """A subject of a device by name alone: its tensors lie on the CPU."""

    def module(self):
        return self.on_cpu().build()

    def cast(self, inputs):
        return self.on_cpu().cast(inputs)

    def on_cpu(self):
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.init}
        return BoundCase(**given | {"device": "cpu"})


def here(case, shape, folder, device="cpu", dtype="fp32"):
    """A subject whose inputs are made, in a folder of its own."""
    given = Here(
        case, shape, device, dtype, backend="", folder=folder, cache=folder, seed=0, threads=1
    )
    given.scratch.save("meta", {"weights": ""})
    given.scratch.save("inputs", [given.make_inputs(number) for number in range(2)])
    return given


@pytest.fixture(scope="module", name="exported")
def _exported(tmp_path_factory):
    """Exports tiny BERT for a device and a dtype: its subject, and what is told of the file."""

    @functools.cache
    def export(device="cpu", dtype="fp32"):
        folder = str(tmp_path_factory.mktemp("export"))
        case = Case(
            "bert",
            model="models.bert:tiny",
            inputs="models.bert:padded_mask",
            mask="attention_mask",
            shapes={"short": {"batch": 2, "seq": 16}, "long": {"batch": 3, "seq": 24}},
        )
        given = here(case, "short", folder, device, dtype)
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
    assert kinds["Gather"] == {True}, "of the embedding"


@pytest.fixture(name="refusing")
def _refusing(monkeypatch):
    """An exporter that fails with dynamic dimensions, for a reason that names none; what it was
    asked for.
    """
    asked, export = [], backend._export

    def refuse(subject, inputs, folder, dynamic):
        asked.append(any(dynamic))
        if any(dynamic):
            raise refuse.error
        with warnings.catch_warnings(action="ignore"):
            return export(subject, inputs, folder, dynamic)

    refuse.error = RuntimeError("shape '[s39, 2]' is invalid")
    monkeypatch.setattr(backend, "_export", refuse)
    return refuse, asked


def small(tmp_path, **declared):
    """A subject whose batch may be dynamic."""
    case = Case(
        "small",
        model="tests.support.specimens:Net",
        inputs="tests.support.specimens:rows",
        shapes={"b2": {"batch": 2}, "b3": {"batch": 3}},
        **declared,
    )
    return here(case, "b2", str(tmp_path))


def test_what_cannot_be_exported_with_dynamic_dimensions_is_exported_without(tmp_path, refusing):
    _, asked = refusing
    for cold in (True, False):
        meta = backend.artefact(small(tmp_path))
        assert (meta["static_dimensions"], meta["dynamic"], meta["cold"]) == (
            ["in_0.shape[0]"],
            [[]],
            cold,
        )
    assert asked == [True, False], "what was found is kept"


@pytest.mark.parametrize(
    ("declared", "error"),
    [
        ({"dynamic": ("batch",)}, RuntimeError("no")),
        ({}, UnavailableError("onnxscript is not installed")),
    ],
)
def test_but_not_what_is_declared_to_be_dynamic_nor_where_the_exporter_is_missing(
    tmp_path, refusing, declared, error
):
    refuse, asked = refusing
    refuse.error = error
    with pytest.raises(type(error), match=str(error)):
        backend.artefact(small(tmp_path, **declared))
    assert asked == [True]


def test_what_the_optimisers_of_a_processor_leave_is_no_fact_of_a_gpu(exported):
    _, meta = exported("cuda", "bf16")

    assert not {"optimised_nodes", "fusions"} & set(meta)
    assert "optimised_nodes" in exported()[1]
    assert meta["nodes"]["MatMul"] > 0
    assert {path.name for path in Path(meta["path"]).parent.iterdir()} == {
        "model.onnx",
        "meta.json",
    }


def test_opened_for_one_shape_no_arithmetic_of_shapes_is_left(exported, monkeypatch):
    """It would run on the CPU, and with a copy between the two there is no CUDA graph."""
    given, meta = exported()
    left, answers = {}, {}
    for name in ("onnxruntime", "onnxruntime_graph"):
        given.backend = name
        given.scratch.save_artefact(name, meta)
        prepared = backend.prepare(given)
        kinds = [
            node.op_type
            for part in prepared.model.get_provider_graph_assignment_info()
            for node in part.get_nodes()
        ]
        left[name] = {"Shape", "Range", "Max"} & set(kinds)
        answers[name] = prepared.to_tensors(prepared.call(prepared.to_inputs(given.inputs()[1])))

    assert left == {"onnxruntime": {"Shape", "Range", "Max"}, "onnxruntime_graph": set()}
    with torch.no_grad():
        expected = flatten(call(given.module(), given.inputs()[1]))
    for found in answers.values():
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
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
    ],
)
def test_what_a_target_lacks_is_told_before_anything_is_loaded(target, reason, monkeypatch):
    monkeypatch.setattr(providers, "tensorrt_libraries", list)
    found = backend.available(Target(*target.split("-")))

    assert found is None if reason is None else reason in found


def test_every_way_is_a_backend_that_is_asked_for_by_name():
    ways = [BACKENDS[name] for name in ("onnxruntime_host", "onnxruntime_graph", "tensorrt")]
    assert not any(way.default for way in ways)
    assert {way.module for way in ways} == {"paritygate.backends.onnxruntime"}


def test_a_package_is_kept_whatever_else_changes_on_the_gpu(exported, monkeypatch):
    given, _ = exported()
    known = {
        "gpu": "NVIDIA H100",
        "gpu_capability": "9.0",
        "gpu_uuid": "one",
        "torch_peak_bytes": 1,
    }

    def key(**changes):
        monkeypatch.setitem(DEVICES, "cpu", lambda: SimpleNamespace(facts=lambda: known | changes))
        return aoti._key(given, given.make_inputs(0))

    assert key() == key(torch_peak_bytes=2, gpu_uuid="another")
    assert key() != key(gpu="NVIDIA H200")
