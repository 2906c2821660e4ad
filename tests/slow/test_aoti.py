"""aoti: packages give eager's answers, are kept by the content they follow from, and notice what
they cannot do.
"""

from __future__ import annotations

import shutil
import zipfile

import pytest
import torch

from paritygate.backends import BackendError, aoti
from paritygate.core.case import Case
from paritygate.core.record import Status
from paritygate.runtime.subject import BoundCase
from tests.support.damage import DAMAGES, flipped
from tests.support.rig import SOURCE, THREADS, specimen, task_of

ENDLESS = """

class Endless(Net):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else x[:, :4]
"""


@pytest.fixture(scope="module", autouse=True)
def own(shared):
    shared.module("packaged", SOURCE + ENDLESS)


def own_case(model="Net", name="packaged"):
    return Case(
        name, model=f"packaged:{model}", inputs="packaged:rows", shapes={"b8": {"batch": 8}}
    )


def packages(rig):
    return set((rig.cache / "aoti").glob("*.pt2"))


def test_any_nest_goes_in_and_out_cold_and_then_warm(rig):
    case = specimen("Nested", "nested")
    cold, warm = (rig.run(case, "eager", "aoti", timed=True)["aoti"] for _ in range(2))

    for record in (cold, warm):
        assert (record.status, record.reason) == (Status.OK, "")
        assert record.measured
        assert record.speedup > 0
    assert cold.prepare_cold_seconds > cold.prepare_seconds
    assert warm.prepare_cold_seconds is None
    assert cold.facts["package_bytes"] == next(iter(packages(rig))).stat().st_size
    assert cold.facts["kernels"] > 0
    assert cold.facts["operators"]["addmm_out"] == 2
    assert cold.facts["dispatched_operators"] == 0


def test_a_convolutional_network_in_bfloat16(rig):
    case = Case(
        "cnn",
        model="models.cnn:DigitsCNN",
        inputs="models.cnn:digit_images",
        shapes={"b4": {"batch": 4}},
    )
    record = rig.one(case, "aoti", dtype="bf16")

    assert (record.status, record.reason) == (Status.OK, "")
    assert record.facts["operators"]["convolution"] == 2


def test_bert_by_keywords_with_its_mask_and_its_attention_kernel(rig):
    case = Case(
        "bert",
        model="models.bert:tiny",
        inputs="models.bert:padded_mask",
        mask="attention_mask",
        shapes={"b2_s16": {"batch": 2, "seq": 16}},
    )
    record = rig.one(case, "aoti")

    assert (record.status, record.reason) == (Status.OK, "")
    assert record.facts["sdpa_kernels"] == {"flash": 2}
    assert record.top1_agreement == 1


def test_a_model_that_depends_on_its_data_fails_in_its_export_and_the_others_go_on(rig):
    records = rig.run(own_case("Endless"), "eager", "aoti")

    assert records["eager"].status is Status.OK
    assert records["aoti"].status is Status.FAILED
    assert records["aoti"].reason.startswith("aoti export: GuardOnDataDependentSymNode: ")


# -- the cache


@pytest.fixture(scope="module")
def kept(shared):
    """A case and the package that its first run made."""
    before = packages(shared)
    assert shared.one(own_case(), "aoti").status is Status.OK
    (package,) = packages(shared) - before
    return package


def test_other_weights_and_other_source_are_other_packages(rig, kept):
    assert rig.one(own_case(), "aoti").prepare_cold_seconds is None
    known = packages(rig)

    assert rig.one(own_case(), "aoti", seed=1).status is Status.OK
    assert len(packages(rig) - known) == 1, "other weights"

    rig.module("packaged", SOURCE.replace("relu", "tanh"))
    changed = rig.one(own_case(), "aoti")
    rig.module("packaged", SOURCE + ENDLESS)
    assert changed.status is Status.OK, "the old package would give the old answers"
    assert len(packages(rig) - known) == 2, "other source"


def test_a_damaged_package_is_made_again(rig, kept):
    kept.write_bytes(flipped(kept.read_bytes()))
    record = rig.one(own_case(), "aoti")

    assert (record.status, record.reason) == (Status.OK, "")
    assert record.prepare_cold_seconds is not None
    assert rig.one(own_case(), "aoti").prepare_cold_seconds is None


@pytest.mark.parametrize("damage", [*DAMAGES, lambda content: content[:-40] + bytes(40)])
def test_damage_is_noticed_wherever_it_is(kept, tmp_path, damage):
    copy = tmp_path / kept.name
    copy.write_bytes(damage(kept.read_bytes()))

    assert aoti.contents(kept) is not None
    assert aoti.contents(copy) is None
    assert aoti.contents(tmp_path / "none.pt2") is None


def test_the_cache_holds_packages_and_nothing_else(rig, kept):
    assert all(path.suffix == ".pt2" for path in (rig.cache / "aoti").iterdir())


# -- what a package cannot do


@pytest.fixture
def prepared(kept, tmp_path, monkeypatch):
    """Prepares the package in this process; ``changes`` are to what is known of it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def prepare(**changes):
        task = task_of(own_case(), tmp_path, backend="aoti", threads=THREADS)
        subject = BoundCase.from_task(task)
        known = aoti.contents(kept) | {
            "path": str(kept),
            "signature": [["torch.float32", [8, 16], [16, 1]]],
        }
        subject.scratch.save_artefact("aoti", known | changes)
        return aoti.prepare(subject)

    return prepare


def test_other_inputs_than_those_it_was_compiled_for_are_refused(prepared):
    package = prepared()
    (answer,) = package.to_tensors(package.call(package.to_inputs((torch.zeros(8, 16),))))

    assert answer.shape == (8, 4)
    for other in (torch.zeros(4, 16), torch.zeros(16, 8).t(), torch.zeros(8, 16).double()):
        with pytest.raises(BackendError, match="compiled for inputs"):
            package.to_inputs((other,))


def test_an_operator_on_another_device_is_a_fallback(prepared):
    assert prepared().facts()["operators"] == {"addmm_out": 1}
    with pytest.raises(BackendError, match="fallback: the package computes on cuda, not cpu"):
        prepared(operators={"cpu": {"addmm_out": 1}, "cuda": {"addmm_out": 1}}).facts()


def test_an_operator_without_a_c_function_is_counted(kept, tmp_path):
    copy = tmp_path / "other.pt2"
    shutil.copyfile(kept, copy)
    with zipfile.ZipFile(kept) as archive:
        name = next(name for name in archive.namelist() if name.endswith("wrapper.cpp"))
        source = archive.read(name).decode()
    with zipfile.ZipFile(copy, "w") as archive:
        archive.writestr(
            name, source + "\n  CHECK(aoti_torch_proxy_executor_call_function(proxy_executor, 0));"
        )

    assert aoti.contents(kept)["dispatched"] == 0
    assert aoti.contents(copy)["dispatched"] == 1
