"""Facts that are compared exactly: counted right, and the same from one process to the next."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from bench import facts


def test_shared_weights_count_once():
    one = nn.Linear(3, 4)
    assert facts.parameters(nn.Sequential(one, one)) == 16


def test_operations_are_counted_also_inside_attention():
    x, weight = torch.rand(8, 16), torch.rand(16, 32)
    assert facts.flops(lambda: x @ weight) == 2 * 8 * 16 * 32
    query = torch.rand(2, 4, 10, 16)
    both_products = 2 * (2 * 2 * 4 * 10 * 10 * 16)
    assert facts.flops(lambda: functional.scaled_dot_product_attention(query, query, query)) == both_products


def test_what_cannot_be_counted_is_unknown_and_no_error():
    assert facts.flops(lambda: 1 / 0) is None
    assert facts.graph_hash(lambda: 1 / 0) is None


def test_the_attention_kernel_that_ran_is_told_by_profile():
    query = torch.rand(1, 2, 8, 16)

    def attend(kernel):
        with torch.nn.attention.sdpa_kernel(kernel), torch.inference_mode():
            return facts.sdpa_kernels(lambda: functional.scaled_dot_product_attention(query, query, query))

    assert attend(torch.nn.attention.SDPBackend.FLASH_ATTENTION) == {"flash": 1}
    assert attend(torch.nn.attention.SDPBackend.MATH) == {"math": 1}
    assert facts.sdpa_kernels(lambda: query + 1) == {}


def test_the_graph_hash_is_of_the_work_and_not_of_the_numbers():
    def work(model, rows=4):
        with torch.inference_mode():
            return facts.graph_hash(lambda: model(torch.rand(rows, 8)))

    one = work(nn.Linear(8, 2))
    assert one == work(nn.Linear(8, 2))
    wider, longer, deeper = nn.Linear(8, 3), nn.Linear(8, 2), nn.Sequential(nn.Linear(8, 2), nn.ReLU())
    assert len({one, work(wider), work(longer, rows=5), work(deeper)}) == 4


def test_settings_see_every_change_that_a_backend_could_make():
    before = facts.settings()
    changes = [
        (lambda: torch.set_num_threads(before["threads"] + 1), lambda: torch.set_num_threads(before["threads"])),
        (lambda: torch.set_float32_matmul_precision("medium"), lambda: torch.set_float32_matmul_precision("highest")),
        (lambda: torch.set_flush_denormal(True), lambda: torch.set_flush_denormal(False)),
        (lambda: torch.use_deterministic_algorithms(True), lambda: torch.use_deterministic_algorithms(False)),
        (lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_default_dtype(torch.float32)),
        (lambda: torch.set_grad_enabled(False), lambda: torch.set_grad_enabled(True)),
    ]
    for change, back in changes:
        change()
        try:
            assert facts.settings() != before
        finally:
            back()
    assert facts.settings() == before


def test_operators_of_a_gpu_are_timed_there_and_not_by_their_launching(monkeypatch):
    asked = []

    class Profile:
        def __init__(self, use_device=None):
            asked.append(use_device)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def key_averages(self):
            host, gpu = torch.autograd.DeviceType.CPU, torch.autograd.DeviceType.CUDA
            times = {"self_cpu_time_total": 50.0, "self_device_time_total": 5000.0}
            kernel = {"self_cpu_time_total": 0.0, "self_device_time_total": 5000.0}
            return [
                SimpleNamespace(key="aten::mm", device_type=host, **times),
                *([SimpleNamespace(key="sm90_gemm", device_type=gpu, **kernel)] if asked[-1] else []),
            ]

    monkeypatch.setattr(torch.autograd.profiler, "profile", Profile)

    assert facts.operator_times(lambda: None, "cuda") == {"aten::mm": pytest.approx(1e-3)}
    assert facts.operator_times(lambda: None) == {"aten::mm": pytest.approx(1e-5)}
    assert asked == ["cuda", None]
