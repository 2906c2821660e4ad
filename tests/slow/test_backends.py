"""What compile and onnxruntime must be caught at, and what they must cope with. Real workers, real
graphs.
"""

import json
import os
import subprocess
import sys

import pytest

from paritygate.core.record import Status
from tests.support.paths import ROOT
from tests.support.rig import SOURCE, specimen


def entries(rig):
    return {path.parent for path in (rig.cache / "onnx").glob("*/meta.json")}


# -- compile


PRELOADED = """
import threading
import torch
from paritygate.backends import compiled

compiled.preload()
from torch._inductor.codecache import _precompile_header
from torch._inductor.cpu_vec_isa import valid_vec_isa_list
from torch._inductor.runtime.triton_compat import HAS_TRITON, triton_key

ONCE = [_precompile_header, valid_vec_isa_list, *([triton_key] if HAS_TRITON else [])]

def done():
    return [asked.cache_info().misses for asked in ONCE]

before = done()
assert set(before) == {1}, before
assert threading.active_count() == 1
torch.compile(lambda x: x + 1)(torch.zeros(4))
assert done() == before, done()
"""


def test_what_a_fork_server_has_preloaded_no_worker_asks_again():
    """Private parts of torch are asked beforehand: with another release it may be others that cost
    the time.
    """
    environ = os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": "1"}

    ended = subprocess.run(
        [sys.executable, "-c", PRELOADED], env=environ, cwd=ROOT, capture_output=True, text=True
    )

    assert ended.returncode == 0, ended.stderr


def test_an_undeclared_graph_break_fails_with_its_reason(rig):
    record = rig.one(specimen("Breaks"), "compile")
    assert record.status is Status.FAILED
    assert "graph break: 1 found, 0 declared" in record.reason
    assert "torch._dynamo.graph_break" in record.reason


def test_a_declared_graph_break_is_in_order_and_counted(rig):
    record = rig.one(specimen("Breaks", graph_breaks=1), "compile")
    assert (record.status, record.reason) == (Status.OK, "")
    assert (record.facts["graph_breaks"], record.facts["graphs"]) == (1, 2)


def test_a_declared_graph_break_that_does_not_come_fails(rig):
    record = rig.one(specimen(graph_breaks=1), "compile")
    assert record.status is Status.FAILED
    assert "graph break: 0 found, 1 declared" in record.reason


def test_a_recompile_in_the_measured_loop_fails(rig):
    record = rig.run(specimen("Switch"), "recompiling", timed=True)["recompiling"]
    assert record.status is Status.FAILED
    assert record.reason.startswith("recompile in the measured loop: ")
    assert not record.measured


@pytest.mark.parametrize("backend", ["compile", "onnxruntime"])
def test_a_backend_is_measured_and_its_peak_is_the_same_with_cold_and_warm_caches(rig, backend):
    case = specimen("Wide", name=f"wide_{backend}")
    cold, warm = (rig.run(case, backend, timed=True)[backend] for _ in range(2))
    assert (cold.status, warm.status) == (Status.OK, Status.OK)
    assert cold.prepare_cold_seconds > cold.prepare_seconds
    assert warm.prepare_cold_seconds is None
    assert warm.peak_bytes == pytest.approx(cold.peak_bytes, rel=0.02)
    assert cold.throughput > 0
    assert cold.speedup > 0


# -- onnxruntime


def test_another_provider_than_the_one_asked_for_fails(rig):
    records = rig.run(specimen(), "onnxruntime", "other_provider", "other_node")
    assert records["onnxruntime"].status is Status.OK
    assert records["onnxruntime"].facts["providers"][0] == "CPUExecutionProvider"
    assert records["other_provider"].status is Status.FAILED
    asked = "CPUExecutionProvider was requested"
    assert records["other_provider"].reason == f"fallback: {asked}, SomeOtherProvider runs"
    assert records["other_node"].status is Status.FAILED
    assert (
        records["other_node"].reason
        == f"fallback: nodes were placed on {{'SomeOtherProvider': 1}}, {asked}"
    )


@pytest.mark.parametrize("model", ["Rigid", "Squared", "Unrolled"])
def test_a_dimension_that_the_exporter_can_only_take_as_it_is_becomes_static(rig, model):
    record = rig.one(specimen(model), "onnxruntime")
    assert (record.status, record.reason) == (Status.OK, "")
    assert record.facts["static_dimensions"] == ["in_0.shape[0]"]
    assert record.facts["dynamic"] == [[]]
    again = rig.one(specimen(model), "onnxruntime")  # from the cache
    assert again.facts["static_dimensions"] == ["in_0.shape[0]"]


def test_a_declared_dimension_that_the_export_makes_static_fails_and_the_others_go_on(rig):
    records = rig.run(specimen("Rigid", dynamic=("batch",)), "eager", "onnxruntime")
    assert records["eager"].status is Status.OK
    assert records["onnxruntime"].status is Status.FAILED
    assert records["onnxruntime"].reason.startswith("onnxruntime export: ")
    assert (
        "conflicts between user-specified ranges and inferred ranges"
        in records["onnxruntime"].reason
    )
    assert "[0].shape[0]" in records["onnxruntime"].facts["trace"]


def test_any_nest_goes_in_and_out_and_no_name_can_clash(rig):
    records = rig.run(specimen("Nested", "nested"), "eager", "onnxruntime")
    for record in records.values():
        assert (record.status, record.reason) == (Status.OK, "")
    assert records["eager"].parity["compared"] >= 4 * 8 * 4


def test_one_shape_has_a_dynamic_batch_and_nothing_else(rig):
    case = specimen("Pooled", "sequences", shapes={"b3": {"batch": 3, "length": 5}})
    assert rig.one(case, "onnxruntime").facts["dynamic"] == [[0]]


def test_dimensions_in_which_shapes_differ_are_dynamic_and_the_file_is_made_once(rig):
    shapes = {"short": {"batch": 3, "length": 5}, "long": {"batch": 3, "length": 9}}
    case = specimen("Pooled", "sequences", name="two_shapes", shapes=shapes)
    first, second = (rig.one(case, "onnxruntime", shape=name) for name in shapes)
    assert first.facts["dynamic"] == second.facts["dynamic"] == [[1]]
    assert (first.status, second.status) == (Status.OK, Status.OK)
    assert first.prepare_cold_seconds is not None
    assert second.prepare_cold_seconds is None


@pytest.fixture
def exported(rig):
    """A case whose source the test can rewrite, and the cache entry that its first run made."""
    rig.module("rewritten", SOURCE)
    before = entries(rig)
    case = specimen(name="rewritten")
    case = type(case)(
        "rewritten", model="rewritten:Net", inputs="rewritten:rows", shapes={"b8": {"batch": 8}}
    )
    # a seed of its own: an empty cache
    assert rig.one(case, "onnxruntime", seed=len(before)).status is Status.OK
    (entry,) = entries(rig) - before
    return case, entry, len(before)


def test_the_export_is_kept_by_the_content_of_source_and_weights(rig, exported):
    case, _, seed = exported
    known = entries(rig)
    assert rig.one(case, "onnxruntime", seed=seed).prepare_cold_seconds is None
    assert entries(rig) == known
    rig.one(case, "onnxruntime", seed=seed + 1000)
    assert len(entries(rig) - known) == 1, "other weights"
    rig.module("rewritten", SOURCE.replace("relu", "tanh"))
    changed = rig.run(case, "eager", "onnxruntime", seed=seed)["onnxruntime"]
    assert changed.status is Status.OK, "the old file would give the old answers"
    assert len(entries(rig) - known) == 2, "other source"


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("model.onnx", lambda data: data[: len(data) // 2]),
        ("model.onnx", lambda data: data[:-40] + bytes(40)),
        ("model.onnx", None),
        ("meta.json", lambda data: data[: len(data) // 2]),
        ("meta.json", lambda data: b"{}"),
    ],
)
def test_a_damaged_cache_entry_is_made_again(rig, exported, file, damage):
    case, entry, seed = exported
    path = entry / file
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    record = rig.one(case, "onnxruntime", seed=seed)
    assert (record.status, record.reason) == (Status.OK, "")
    assert record.prepare_cold_seconds is not None
    assert json.loads((entry / "meta.json").read_text())["opset"] == record.facts["opset"]
    assert rig.one(case, "onnxruntime", seed=seed).prepare_cold_seconds is None
