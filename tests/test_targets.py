"""What ``--bench-targets`` chooses."""

import pytest

from bench import targets
from bench.backends import BACKENDS
from bench.case import Target
from bench.targets import DEVICE_DTYPES, TargetError, select, unavailable, universe


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(targets, "_nvidia_devices", lambda: None)


def chosen(terms):
    return [str(target) for target in select(terms, BACKENDS)]


USUAL = ["cpu-eager-fp32", "cpu-compile-fp32", "cpu-onnxruntime-fp32"]


@pytest.mark.parametrize(
    ("terms", "names"),
    [
        ("present", USUAL),
        ("cpu", USUAL),
        ("eager", ["cpu-eager-fp32"]),
        ("compile,eager", ["cpu-eager-fp32", "cpu-compile-fp32"]),
        (" eager , eager ", ["cpu-eager-fp32"]),
        ("comp*", ["cpu-compile-fp32", "cpu-compile_reduce_overhead-fp32", "cpu-compile_max_autotune-fp32"]),
        ("compile_max_autotune", ["cpu-compile_max_autotune-fp32"]),
        ("bf16", ["cpu-eager-bf16", "cpu-compile-bf16", "cpu-onnxruntime-bf16"]),
        ("cpu-*-bf16", [f"cpu-{backend}-bf16" for backend in BACKENDS]),
        ("cuda", ["cuda-eager-fp32", "cuda-compile-fp32", "cuda-onnxruntime-fp32"]),
        ("cuda-eager-tf32", ["cuda-eager-tf32"]),
    ],
)
def test_terms_choose(terms, names):
    assert chosen(terms) == names


@pytest.mark.parametrize("term", ["egaer", "cpu-eager-tf32", "tpu", "", "eager,,compile"])
def test_a_term_that_names_nothing_is_refused_and_what_there_is_is_listed(term):
    with pytest.raises(TargetError) as refused:
        chosen(term)
    assert "names no target; devices: cpu, cuda; backends: eager, compile, " in str(refused.value)
    assert "tf32" in str(refused.value)


def test_the_order_is_that_of_the_tables_whatever_was_asked_first():
    assert chosen("bf16,eager") == ["cpu-eager-fp32", "cpu-eager-bf16", "cpu-compile-bf16", "cpu-onnxruntime-bf16"]


def test_an_absent_device_says_why():
    assert targets.absent("cpu") is None
    assert unavailable(Target("cuda", "eager", "fp32"), BACKENDS) == "cuda: no device (no NVIDIA driver)"


def test_a_driver_without_a_device_says_so(monkeypatch):
    monkeypatch.setattr(targets, "_nvidia_devices", lambda: 0)
    assert "the NVIDIA driver reports none" in targets.absent("cuda")


def test_backends_say_what_they_lack(monkeypatch):
    assert unavailable(Target("cpu", "eager", "bf16"), BACKENDS) is None
    assert "no bf16 kernels" in unavailable(Target("cpu", "onnxruntime", "bf16"), BACKENDS)
    assert "CUDA graphs" in unavailable(Target("cpu", "compile_reduce_overhead", "fp32"), BACKENDS)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "needs a C++ compiler" in unavailable(Target("cpu", "compile", "fp32"), BACKENDS)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "is not installed" in unavailable(Target("cpu", "onnxruntime", "fp32"), BACKENDS)


def test_the_universe_has_every_combination_once():
    every = universe(BACKENDS.values())
    assert len(every) == len(set(every)) == sum(map(len, DEVICE_DTYPES.values())) * len(BACKENDS)
