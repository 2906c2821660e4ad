"""The suites: every case resolves, runs at its quick shape, and skips for reasons that are true."""

import functools
import importlib
from pkgutil import resolve_name

import pytest
import torch

from models import digits
from models.attention import KERNELS, KernelUnavailable, kernel_unavailable
from paritygate.core.budgets import BUDGETS
from paritygate.core.case import Case, Target

SUITES = ("test_cnn", "test_mlp", "test_bert", "test_attention")


def cases_of(suite: str) -> tuple[Case, ...]:
    return importlib.import_module(f"suites.{suite}").CASES


CASES = [case for suite in SUITES for case in cases_of(suite)]
CPU = Target("cpu", "eager", "fp32")


def each(cases: list[Case]):
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def made(case: Case, sizes, seed: int = 0):
    inputs = resolve_name(case.inputs)(sizes, torch.Generator().manual_seed(seed))
    return inputs if isinstance(inputs, dict) else dict(enumerate(inputs))


def built(case: Case) -> torch.nn.Module:
    torch.manual_seed(0)
    return resolve_name(case.model)().eval()


def call(model: torch.nn.Module, inputs):
    positional = [tensor for name, tensor in inputs.items() if isinstance(name, int)]
    return model(
        *positional, **{name: tensor for name, tensor in inputs.items() if isinstance(name, str)}
    )


def test_quick_runs_train_every_model():
    quick = [case for case in cases_of("test_training") if BUDGETS["quick"].shapes(case)]

    assert [case.model for case in quick] == [
        "models.cnn:DigitsCNN",
        "models.cnn:RgbCNN",
        "models.mlp:MLP",
        "models.text:tiny",
        "models.text:mini",
    ]


@pytest.fixture(scope="module", autouse=True)
def _hardly_trained(tmp_path_factory):
    """A cache of this module's own, with networks of digits after one epoch: the tests ask whether
    they run.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARITYGATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(digits, "train", functools.partial(digits.train, epochs=1))
        yield


def test_names_are_unique():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("suite", SUITES)
def test_both_tests_of_a_suite_take_all_its_cases(suite):
    module = importlib.import_module(f"suites.{suite}")
    for test in (module.test_parity, module.test_throughput):
        (mark,) = test.pytestmark
        assert mark.name == "cells"
        assert mark.args == (module.CASES,)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@each(CASES)
def test_quick_shape_runs_on_the_cpu_or_is_skipped_for_a_true_reason(case):
    first = case.all_shapes()[0]
    assert first.timed
    assert first.budget == ("normal" if case.name == "bert_tiny_no_mask" else "quick")
    model, inputs = built(case), made(case, first.sizes)
    reason = case.reason(case.skips, CPU)
    with torch.inference_mode():
        if reason is not None:
            with pytest.raises(KernelUnavailable) as error:
                call(model, inputs)
            assert reason == f"KernelUnavailable: {error.value}"
            assert str(error.value) == kernel_unavailable(model.kernel, "cpu", torch.float32)
        else:
            answer = call(model, inputs)
            assert answer.dtype == torch.float32
            assert answer.isfinite().all()
            assert len(answer) == first.sizes["batch"]
            assert torch.equal(call(built(case), inputs), answer)


@each(CASES)
def test_every_shape_gives_inputs_of_one_form(case):
    for shape in case.all_shapes():
        one, other = made(case, shape.sizes, seed=0), made(case, shape.sizes, seed=1)
        assert one.keys() == other.keys()
        for name in one:
            assert one[name].device.type == "cpu"
            assert one[name].dtype == other[name].dtype
            assert (one[name].shape, one[name].stride()) == (
                other[name].shape,
                other[name].stride(),
            )
        assert case.units(shape) >= 1


@each(CASES)
def test_a_batch_of_one_or_an_odd_one_is_checked(case):
    unusual = [shape for shape in case.all_shapes() if not shape.timed]
    assert any(size == 1 or size % 2 for shape in unusual for size in shape.sizes.values())


@each([case for case in CASES if case.mask is not None])
def test_ignoring_the_mask_shows(case):
    model, inputs = built(case), made(case, case.all_shapes()[0].sizes)
    assert 0.5 <= inputs[case.mask].double().mean() <= 0.7
    ignored = inputs | {case.mask: torch.ones_like(inputs[case.mask])}
    with torch.inference_mode():
        right = call(model, inputs)
        assert torch.linalg.norm(call(model, ignored) - right) > 0.05 * torch.linalg.norm(right)


def test_a_checkpoint_is_a_case_only_where_one_is_given(monkeypatch):
    suite = importlib.import_module("suites.test_bert")
    monkeypatch.setenv("PARITYGATE_BERT", "some/model")
    assert importlib.reload(suite).CASES[-1].name == "bert_checkpoint"
    monkeypatch.delenv("PARITYGATE_BERT")
    assert "bert_checkpoint" not in [case.name for case in importlib.reload(suite).CASES]


def test_forced_kernels_are_not_measured_on_onnxruntime():
    kernels = tuple(f"models.attention:sdpa_{kernel}" for kernel in KERNELS)
    forced = [case for case in cases_of("test_attention") if case.model in kernels]
    assert len(forced) == 4
    for case in forced:
        assert not any(Target("cpu", "onnxruntime", "fp32").matches(glob) for glob in case.targets)
        assert any(Target("cpu", "compile", "fp32").matches(glob) for glob in case.targets)
        assert any(
            Target("cuda", "compile_max_autotune", "fp16").matches(glob) for glob in case.targets
        )


def test_flex_says_why_it_has_no_onnx():
    (flex,) = (case for case in cases_of("test_attention") if case.name == "attn_flex")
    assert "ConversionError" in str(flex.reason(flex.skips, Target("cpu", "onnxruntime", "fp32")))
    assert flex.reason(flex.skips, CPU) is None
