"""``make gpu-check``: what its parts make of records, on fakes; that nothing runs without a GPU,
and why.
"""

from __future__ import annotations

import json

import pytest

from evidence import gpu
from paritygate.core.record import Record, Status
from paritygate.session import targets
from tests.support.fakes import FakeClock


def record(cell="attn_cuda_flash_causal-b8_h16_s1024_d128-cuda-eager-bf16", p50=1e-3, **more):
    case, shape, device, backend, dtype = cell.split("-")
    given = {
        "status": Status.OK,
        "latency_p50": p50,
        "throughput": 1 / p50 if p50 else None,
        "error_share": 0.25,
    }
    return Record(cell, case, shape, device, backend, dtype, **given | more)


def test_all_parts_together_take_a_quarter_of_an_hour_and_none_ten_minutes():
    assert sum(part.seconds for part in gpu.PARTS.values()) <= 15 * 60
    assert max(part.seconds for part in gpu.PARTS.values()) < 10 * 60


def test_without_a_gpu_it_says_why_and_writes_nothing(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(targets, "absent", lambda device: "no device (no NVIDIA driver)")

    assert gpu.main(["--out", str(tmp_path)]) == 2
    assert "gpu-check: cuda: no device (no NVIDIA driver)" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_wished_for_is_left_out_by_name_and_one_that_is_needed_ends_it(
    monkeypatch,
):
    monkeypatch.setattr(targets, "absent", lambda device: None)
    monkeypatch.setattr(
        gpu, "find_spec", lambda name: None if name in ("onnxruntime", "pynvml") else name
    )

    (line,) = gpu.left_out()
    assert (
        line
        == "without onnxruntime: every onnxruntime cell (carry the wheel of onnxruntime-gpu) is left out"
    )
    assert gpu.unable() == "these packages are needed and not installed: pynvml"


def test_each_part_leaves_its_file_with_command_and_conditions(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(targets, "absent", lambda device: None)
    monkeypatch.setattr(
        gpu, "run_pytest", lambda arguments, seconds: ([record(facts={"gpu": "H200"})], [])
    )

    assert gpu.main(["matrix", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "matrix.json").read_text())
    assert found["command"] == "python -m bench.evidence.gpu matrix"
    assert found["machine"]["cores"]
    assert found["cells"][0]["share"] == 0.25
    assert "1 ok" in capsys.readouterr().out


def test_what_was_wrong_or_is_of_other_code_or_another_gpu_is_run_again_and_the_rest_is_not(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(targets, "absent", lambda device: None)
    here = {"machine": {}, "gpu": {"uuid": "GPU-1", "driver": "580"}, "code": "c0de"}
    monkeypatch.setattr(gpu, "conditions", lambda: here)
    ran, wrong = [], {"a"}

    def run(name):
        return lambda seconds: (
            ran.append(name) or {"told": [], "problems": ["off"] if name in wrong else []}
        )

    monkeypatch.setattr(gpu, "PARTS", {name: gpu.Part(name, name, 1, run(name)) for name in "abcd"})
    for name, other in (
        ("c", {"code": "older"}),
        ("d", {"gpu": {"uuid": "GPU-2", "driver": "580"}}),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(here | {"problems": []} | other))

    assert gpu.main(["--out", str(tmp_path)]) == 1
    assert "".join(ran) == "abcd"
    (tmp_path / "d.json").unlink()
    wrong.clear()
    assert gpu.main(["--out", str(tmp_path)]) == 0
    assert "".join(ran) == "abcd" + "da", "those that were not run yet come first"
    assert gpu.main(["--out", str(tmp_path)]) == 0
    assert len(ran) == 6
    assert "every part has a result for this code on this GPU" in capsys.readouterr().out


def test_the_code_that_is_shown_is_all_that_measures():
    assert (gpu.ROOT / "bench" / "paritygate" / "runtime" / "devices" / "cuda.py").exists()
    assert len(gpu.code()) == 12


@pytest.mark.parametrize(
    "error", [RuntimeError("no git here"), SystemExit("pytest left no report")]
)
def test_a_part_that_breaks_leaves_its_reason_and_the_next_one_runs(
    monkeypatch, capsys, tmp_path, error
):
    monkeypatch.setattr(targets, "absent", lambda device: None)

    def broken(seconds):
        raise error

    def sound(seconds):
        return {"told": ["fine"], "problems": []}

    monkeypatch.setattr(
        gpu, "PARTS", {"a": gpu.Part("a", "a", 1, broken), "b": gpu.Part("b", "b", 1, sound)}
    )

    assert gpu.main(["--out", str(tmp_path)]) == 1
    assert json.loads((tmp_path / "a.json").read_text())["problems"] == [
        f"{type(error).__name__}: {error}"
    ]
    assert json.loads((tmp_path / "b.json").read_text())["told"] == ["fine"]
    assert "2 parts run, 1 with problems" in capsys.readouterr().out


def test_a_failed_cell_is_wrong_and_a_known_gap_is_not():
    gap = record(status=Status.PARITY_FAILED, reason="far", facts={"known_gap": "upstream"})

    assert gpu.failures([gap, record()]) == []
    assert gpu.failures([record(status=Status.CRASHED, reason="gone")])[0].endswith("crashed, gone")


def test_nothing_measured_is_wrong():
    skipped = record(p50=None, status=Status.SKIPPED, reason="no kernel")

    assert gpu.matrix_of([skipped], [])["problems"] == ["no cell was measured"]
    assert gpu.steady_of([([skipped], [])] * gpu.RUNS)["problems"] == ["no cell was measured twice"]
    assert gpu.gate_of([skipped], [], {})["problems"] == ["no cell was compared"]
    assert gpu.roofs_of([skipped], [])["problems"] == ["no kernel has a share of the roof"]


def test_how_far_medians_of_runs_are_apart():
    found = gpu.steady_of(
        [([record(p50=p50)], []) for p50 in (0.9e-3, 0.9e-3, 1e-3, 1.1e-3, 1.1e-3)]
    )

    assert list(found["coefficient_of_variation"].values()) == [pytest.approx(0.1)]
    assert not found["problems"]


def test_the_runs_share_their_time_and_one_that_would_not_end_is_not_begun(monkeypatch):
    clock = FakeClock()
    given = []

    def run(arguments, seconds):
        given.append(seconds)
        clock.now += 30
        return [record()], []

    monkeypatch.setattr(gpu.time, "monotonic", clock)
    monkeypatch.setattr(gpu, "run_pytest", run)

    assert gpu.steady(100)["problems"] == ["there was time for 3 runs, not 5"]
    assert given == [100, 70, 40]
    assert not gpu.steady(150)["problems"]


def test_a_gate_ends_by_itself_before_it_would_be_interrupted(monkeypatch):
    asked = []
    monkeypatch.setattr(
        gpu, "run_pytest", lambda arguments, seconds: asked.append((arguments, seconds)) or ([], [])
    )

    gpu.planted(250)
    ((arguments, seconds),) = asked
    assert int(arguments[arguments.index("--bench-limit") + 1]) + gpu.GRACE < seconds
    assert sorted(given.partition("=")[2] for given in arguments if "=" in given) == [
        "2%",
        "3%",
        "5%",
    ]


def test_the_gated_cells_are_of_the_quick_matrix():
    from paritygate.core.budgets import BUDGETS
    from suites import test_attention, test_bert, test_cnn

    cases = [*test_attention.CASES, *test_bert.CASES, *test_cnn.CASES]
    quick = {
        f"{case.name}-{shape.name}"
        for case in cases
        for shape in BUDGETS["quick"].shapes(case)
        if shape.timed
    }
    assert set(gpu.CELLS) <= quick


def test_a_plant_that_is_missed_and_a_red_without_one_are_wrong():
    cells = [
        f"cnn_digits-b32-cuda-{backend}-fp32" for backend in ("eager", "compile", "onnxruntime")
    ]
    verdicts = ("same", "regressed", "regressed")
    records = [
        record(cell, verdict=verdict, effect=0.03)
        for cell, verdict in zip(cells, verdicts, strict=True)
    ]

    found = gpu.gate_of(records, [], {cells[0]: 0.03, cells[1]: 0.03})
    assert found["problems"] == [
        f"{cells[2]}: regressed without a plant",
        f"{cells[0]}: same with 3% planted",
    ]


def test_a_gate_that_does_not_tell_is_wrong():
    one, two, three = (
        f"cnn_digits-b32-cuda-{backend}-fp32" for backend in ("eager", "compile", "onnxruntime")
    )
    undecided = record(one, verdict="inconclusive", effect=0.004)
    unmeasured = record(two, verdict="inconclusive", verdict_reason="no time was left", effect=None)

    assert gpu.gate_of([undecided, unmeasured], [], {three: 0.02})["problems"] == [
        f"{one}: inconclusive without a plant",
        f"{two}: inconclusive, no time was left",
        f"{three}: no verdict with 2% planted",
    ]


def test_another_clock_may_tell_three_percent_else():
    near, far = (
        cell.replace("flash", kernel)
        for kernel in ("math", "efficient")
        for cell in [record().cell]
    )
    ours = [record(near, 1.02e-3), record(far, 1.05e-3)]

    found = gpu.operators_of(ours, [], {near: 1e-3, far: 1e-3, record().cell: 1e-3})
    assert found["problems"] == [f"{far}: +5.0% off do_bench", f"{record().cell}: not timed"]


def test_the_best_kernel_is_told_by_its_share_of_what_was_attained():
    gemm = record(
        "roofline_gemm_large-n8192-cuda-eager-bf16", 1e-3, flops=10**12, facts={"bytes": 1}
    )
    copy = record(
        "roofline_copy_large-mib256-cuda-eager-bf16", 1e-3, flops=0, facts={"bytes": 10**9}
    )
    kernel = record(p50=2e-3, flops=10**12, facts={"bytes": 1000})

    told = gpu.roofs_of([gemm, copy, kernel], [])["told"]
    assert told[-1] == f"best: {kernel.cell}, 50% of the roof, limited by compute"


def test_where_nodes_ran_is_told_and_why_a_way_was_skipped():
    ran = record(
        "cnn_digits-b32-cuda-onnxruntime-fp32",
        facts={"nodes_by_provider": {"CUDAExecutionProvider": 9}},
    )
    skipped = record(
        "cnn_digits-b32-cuda-tensorrt-fp32", None, status=Status.SKIPPED, reason="no libnvinfer"
    )

    found = gpu.providers_of([ran, skipped], [])
    assert found["told"] == [
        f"{ran.cell}: {{'CUDAExecutionProvider': 9}}",
        f"{skipped.cell}: no libnvinfer",
    ]
    assert not found["problems"]


@pytest.mark.parametrize("nodes", [{}, {"CPUExecutionProvider": 9}, {"CUDAExecutionProvider": 0}])
def test_a_provider_that_ran_nothing_on_the_gpu_is_not_proven(monkeypatch, nodes):
    ran = record("cnn_digits-b32-cuda-onnxruntime-fp32", facts={"nodes_by_provider": nodes})

    assert gpu.providers_of([ran], [])["problems"] == ["ONNX Runtime ran nothing on the GPU"]
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    assert not gpu.providers_of([], [])["problems"], "left out, and said so before"


def test_the_operators_held_against_do_bench_are_cells_of_the_suite():
    from paritygate.core.case import Target, cell_of
    from suites.test_attention_cuda import CASES

    target = Target("cuda", "eager", "bf16")
    ids = {
        cell.id
        for case in CASES
        for shape in case.all_shapes()
        if (cell := cell_of(case, shape, target))
    }
    assert set(gpu.OPERATORS) <= ids
