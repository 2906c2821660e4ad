"""Every kind of work on a device that is not the processor, in real workers: what a GPU would
refuse is refused here.

Eager and the cases' own variants; the compilers and onnxruntime know no such device.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from contextlib import nullcontext
from dataclasses import replace

import pytest

import suites
from models.attention import CUDA_ONLY
from paritygate.backends import BACKENDS
from paritygate.core.devices import DEVICE_KINDS
from paritygate.core.record import Status
from tests.support.rig import Rig, new_server, specimen

NAME = "elsewhere"
LEFT_OUT = {
    **{f"attn_sdpa_{kernel}": "a kernel of CUDA alone" for kernel in CUDA_ONLY},
    "attn_flex": "torch has it for devices that it knows",
    "bert_base": "the code of BERT tiny, at fifty times the cost",
    "bert_mini": "as bert_base",
    "bert_mini_padded": "as bert_base",
    "soak_bert_tiny": "as soak_cnn_digits",
    "tokenize": "no tensor moves: the processor's work",
    "tokenize_hostile": "as tokenize",
    "load_digits": "into the memory of the host",
    "ddp_digits": "its ranks are processes that do not know the device",
    "corpus_compressed": "two minutes where its teacher is not kept; tests/unit/models/test_distillation.py moves it",
    "int8": "a network of the processor",
}
TRAINED = {  # every model and optimizer once
    "train_cnn_digits_sgd",
    "train_cnn_rgb_adam",
    "train_mlp_sgd_momentum",
    "train_corpus_tiny",
    "learn_digits_momentum",
}


def cases():
    """The cases of all suites, less those of CUDA alone and those that are left out."""
    for module in pkgutil.iter_modules(suites.__path__):
        for case in importlib.import_module(f"suites.{module.name}").CASES:
            of_cuda = module.name in ("test_attention_cuda", "test_roofline")
            wanted = case.name in TRAINED if case.mode == "training" else case.name not in LEFT_OUT
            if wanted and not of_cuda:
                yield case


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    preloaded = ["tests.support.elsewhere", "transformers.models.bert.modeling_bert"]
    started = new_server(
        folder / "server", folder / "cache", modules=preloaded, backends=[BACKENDS["eager"].module]
    )
    (folder / "cache").mkdir()
    started.start()
    yield started
    started.close()


@pytest.fixture
def away(server, tmp_path, monkeypatch):
    """A rig whose workers know the device."""
    kind = replace(DEVICE_KINDS["cuda"], name=NAME)
    monkeypatch.setitem(DEVICE_KINDS, NAME, kind)
    monkeypatch.setattr("paritygate.session.opened.timing_lock", lambda _: nullcontext())
    made = Rig(tmp_path, tmp_path, server, tmp_path)
    yield made
    for group in made.made:
        group.close()


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_all_of_it_stays_there(away, case):
    variants = [variant for variant in case.variants if variant not in LEFT_OUT]
    shape = min(case.all_shapes(), key=lambda shape: math.prod(shape.sizes.values()))

    records = away.run(case, "eager", *variants, device=NAME, shape=shape.name)

    assert {backend: record.reason for backend, record in records.items()} == dict.fromkeys(
        ["eager", *variants], ""
    )
    assert all(record.status is Status.OK for record in records.values())
    assert records["eager"].facts["gpu"] == "NVIDIA H200", "by the code of a GPU"


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "tf32"])
def test_in_other_precisions(away, dtype):
    assert away.one(specimen(), device=NAME, dtype=dtype).status is Status.OK


def test_it_is_timed_by_both_clocks(away):
    record = away.one(specimen(), device=NAME, timed=True)

    assert record.status is Status.OK
    assert record.throughput
    assert record.facts["device_seconds"] > 0


def test_an_operator_is_timed_with_its_cache_flushed(away):
    record = away.one(specimen(cold_cache=True), device=NAME, timed=True)

    assert record.status is Status.OK
    assert record.throughput


def test_a_tensor_that_was_left_behind_is_found(away):
    record = away.one(specimen("LeftBehind"), device=NAME)

    assert record.status is Status.FAILED
    assert (
        "Expected all tensors to be on the same device, but found ['cpu', 'elsewhere:0']"
        in record.reason
    )


def test_numpy_does_not_reach_there(away):
    assert "numpy" in away.one(specimen("Numerical"), device=NAME).reason
