"""What ``--bench-targets`` chooses."""

import importlib.util

import pytest
import torch

from paritygate.backends import BACKENDS, compiled
from paritygate.core.case import Target
from paritygate.core.devices import DEVICE_KINDS
from paritygate.session import targets
from paritygate.session.targets import TargetError, select, unavailable, universe
from tests.support import fake_nvml
from tests.support.fake_nvml import Card


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch, tmp_path):
    fake_nvml.install(monkeypatch, None)
    monkeypatch.setattr(targets, "DRIVER", tmp_path / "no driver")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def torch_of(monkeypatch, tmp_path):
    """Makes importlib find a torch whose version.py has these lines."""

    def install(*lines):
        folder = tmp_path / "torch"
        folder.mkdir()
        (folder / "__init__.py").write_text("raise ImportError('torch is never imported here')")
        (folder / "version.py").write_text(
            "\n".join(["from typing import Optional", "debug = False", *lines])
        )
        spec = importlib.util.spec_from_file_location("torch", folder / "__init__.py")
        monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)

    return install


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
        (
            "comp*",
            [
                "cpu-compile-fp32",
                "cpu-compile_reduce_overhead-fp32",
                "cpu-compile_max_autotune-fp32",
            ],
        ),
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
    assert "names no target; devices: cpu, cuda; backends: eager, compile, " in str(
        refused.value
    ), "a new device is added to this list"
    assert "tf32" in str(refused.value)


def test_the_order_is_that_of_the_tables_whatever_was_asked_first():
    assert chosen("bf16,eager") == [
        "cpu-eager-fp32",
        "cpu-eager-bf16",
        "cpu-compile-bf16",
        "cpu-onnxruntime-bf16",
    ]


def test_nobody_looks_for_an_unknown_kind_of_device_as_for_a_gpu():
    assert targets.absent("npu") == (
        "no device (session/targets.py does not know how to look for npu)"
    )


def test_an_absent_device_says_why():
    assert targets.absent("cpu") is None
    assert (
        unavailable(Target("cuda", "eager", "fp32"), BACKENDS)
        == "cuda: no device (no NVIDIA driver)"
    )


def test_a_driver_without_a_device_says_so(monkeypatch):
    fake_nvml.install(monkeypatch, [])
    assert targets.absent("cuda") == "no device (the NVIDIA driver reports none)"


def test_a_driver_without_its_management_library_says_how_a_container_gets_it(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(targets, "DRIVER", tmp_path)
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in targets.absent("cuda")


def test_devices_that_are_hidden_say_by_what(monkeypatch):
    fake_nvml.install(monkeypatch, [Card("GPU-1"), Card("GPU-2")])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert targets.absent("cuda") == "no device (CUDA_VISIBLE_DEVICES=-1 hides all 2)"

    fake_nvml.install(monkeypatch, [Card(instances=[])])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert targets.absent("cuda") == "no device (MIG divides all 1 into no instance)"


def test_a_torch_without_cuda_cannot_use_the_device(monkeypatch, torch_of):
    fake_nvml.install(monkeypatch, [Card("GPU-1"), Card("GPU-2")])
    torch_of(
        "__version__ = '2.13.0+cpu'", "cuda: Optional[str] = None", "hip: Optional[str] = None"
    )

    assert (
        targets.absent("cuda")
        == "2 present, but torch here is a CPU build (2.13.0+cpu); install the CUDA build"
    )
    assert chosen("present") == USUAL


@pytest.mark.parametrize("line", ["cuda: Optional[str] = '13.0'", "cuda = '13.0'", 'cuda = "13.0"'])
def test_a_device_with_a_torch_for_it_is_present(monkeypatch, torch_of, line):
    fake_nvml.install(monkeypatch, [Card()])
    torch_of("__version__ = '2.13.0+cu130'", line, "hip: Optional[str] = None")

    assert targets.torch_build() == ("2.13.0+cu130", "13.0")
    assert targets.absent("cuda") is None
    assert chosen("present") == [*USUAL, *(name.replace("cpu", "cuda") for name in USUAL)]


@pytest.mark.parametrize(("driver", "runs"), [(13000, True), (13010, True), (12090, False)])
def test_a_driver_too_old_for_torch_is_no_device(monkeypatch, torch_of, driver, runs):
    fake_nvml.install(monkeypatch, [Card(cuda=driver)])
    torch_of(
        "__version__ = '2.13.0+cu130'", "cuda: Optional[str] = '13.0'", "hip: Optional[str] = None"
    )

    assert targets.absent("cuda") == (
        None
        if runs
        else (
            "1 present, but the driver runs CUDA 12.9 and torch here (2.13.0+cu130) is built for 13.0; update "
            "the driver, "
            "or install the torch for CUDA 12"
        )
    )


def test_the_torch_that_is_installed_tells_its_build():
    assert targets.torch_build() == (torch.__version__, torch.version.cuda)


def test_no_torch_is_no_build(monkeypatch):
    fake_nvml.install(monkeypatch, [Card()])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    assert "(not installed)" in targets.absent("cuda")


def test_backends_say_what_they_lack(monkeypatch):
    assert unavailable(Target("cpu", "eager", "bf16"), BACKENDS) is None
    assert "no bf16 kernels" in unavailable(Target("cpu", "onnxruntime", "bf16"), BACKENDS)
    assert "CUDA graphs" in unavailable(Target("cpu", "compile_reduce_overhead", "fp32"), BACKENDS)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "needs a C++ compiler" in unavailable(Target("cpu", "compile", "fp32"), BACKENDS)
    assert "needs a C compiler on a GPU" in compiled.available(Target("cuda", "compile", "fp32"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "is not installed" in unavailable(Target("cpu", "onnxruntime", "fp32"), BACKENDS)


def test_the_universe_has_every_combination_once():
    every = universe(BACKENDS.values())
    assert (
        len(every)
        == len(set(every))
        == sum(len(kind.dtypes) for kind in DEVICE_KINDS.values()) * len(BACKENDS)
    )


def test_the_gpu_of_a_run_is_a_fact_of_its_machine(monkeypatch, torch_of):
    torch_of("cuda = '13.0'")
    fake_nvml.install(
        monkeypatch, [Card("GPU-1", name="NVIDIA H200"), Card("GPU-2", name="NVIDIA H200")]
    )

    found = targets.gpu()
    assert (found["gpu"], found["gpus"]) == ("NVIDIA H200", 2)
    assert found["gpu_driver"]


def test_without_a_gpu_the_machine_has_no_such_fact():
    assert targets.gpu() == {}
