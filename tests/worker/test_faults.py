"""Planted faults are found, by real workers on real models, and the message says where; without a
fault all is well.
"""

import re

import pytest

from paritygate.core.case import Case
from paritygate.core.record import Status
from tests.support.rig import specimen

BERT = Case(
    "bert",
    model="models.bert:tiny",
    inputs="models.bert:padded_mask",
    shapes={"fp32": {"batch": 8, "seq": 32}, "bf16": {"batch": 8, "seq": 64}},
    mask="attention_mask",
)
CNN = Case(
    "cnn",
    model="models.cnn:DigitsCNN",
    inputs="models.cnn:digit_images",
    shapes={"b8": {"batch": 8}},
)
ATTENTION = Case(  # four input sets of 262,144 elements: a million in all
    "attention",
    model="models.attention:SdpaAttention",
    inputs="models.attention:qkv",
    shapes={"b4": {"batch": 4, "heads": 8, "seq": 128, "head_dim": 64}},
)
ANSWERS = ("swapped_classes", "dropout_on", "nan", "another_dtype", "another_count")
WEIGHTS = ("last_weight", "fp16_inside")
PLANTED = {
    ("bert", "fp32"): (
        *ANSWERS,
        *WEIGHTS,
        "query_weight",
        "layer_norm_eps",
        "mask_ignored",
        "shared_buffer",
    ),
    ("bert", "bf16"): (*ANSWERS, "mask_ignored"),
    ("cnn", "fp32"): (*ANSWERS, *WEIGHTS),
    ("attention", "fp32"): ("one_element", "nan"),
    ("attention", "bf16"): ("one_element", "nan"),
    ("bert", "fp16"): (*ANSWERS, "mask_ignored"),
    ("cnn", "fp16"): ANSWERS,
}
# Random weights decide whether a fault is larger than rounding; with these it is.
WHERE = {
    ("bert", "fp32"): {"shape": "fp32", "seed": 1},
    ("bert", "bf16"): {"shape": "bf16", "seed": 2},
    ("bert", "fp16"): {"shape": "bf16", "seed": 2},
}
CASES = {case.name: case for case in (BERT, CNN, ATTENTION)}


@pytest.fixture(scope="module")
def found(shared):
    """(case, dtype) -> backend -> record; every group is run once."""
    records = {}

    def run(case, dtype):
        if (case, dtype) not in records:
            where = WHERE.get((case, dtype), {})
            records[case, dtype] = shared.run(
                CASES[case], "eager", "twin", *PLANTED[case, dtype], dtype=dtype, **where
            )
        return records[case, dtype]

    return run


@pytest.mark.parametrize(
    ("case", "dtype", "fault"),
    [(*where, fault) for where, faults in PLANTED.items() for fault in faults],
)
def test_a_planted_fault_fails_parity(found, case, dtype, fault):
    record = found(case, dtype)[fault]
    assert record.status is Status.PARITY_FAILED, (record.status, record.reason)
    assert not record.measured


@pytest.mark.parametrize(("case", "dtype"), PLANTED)
@pytest.mark.parametrize("backend", ["eager", "twin"])
def test_a_backend_without_a_fault_agrees(found, case, dtype, backend):
    record = found(case, dtype)[backend]
    assert (record.status, record.reason) == (Status.OK, "")
    assert record.error_share <= 0.5  # not by a hair either: the same arithmetic


def test_a_failure_says_how_far_off_how_far_is_allowed_and_where(found):
    record = found("bert", "fp32")["last_weight"]
    assert (
        f"output 0: error {record.error:.3g} against float64, allowed {record.error_allowed:.3g}"
        in record.reason
    )
    worst = record.parity["worst"]
    where = f"input set {worst['set']}, output 0, index {tuple(worst['index'])}: got {worst['candidate']:.9g}"
    assert where in record.reason.replace("[", "(").replace("]", ")")
    assert 0 <= worst["set"] < 4
    assert tuple(worst["index"])[1] == 0  # the weight is of class 0


def test_a_single_broken_element_is_named_by_its_index(found):
    for dtype in ("fp32", "bf16"):
        record = found("attention", dtype)["one_element"]
        assert record.error < record.error_allowed, "the norm was to hide it"
        assert "one element is" in record.reason
        assert record.parity["second_look"] or not record.parity["part"], (
            "eager's twins do not explain it"
        )
        assert tuple(record.parity["worst"]["index"]) == (0, 0, 1234 // 64, 1234 % 64)


def test_a_nan_is_counted_and_named(found):
    record = found("cnn", "fp32")["nan"]
    assert "4 elements are NaN or infinite, 0 in eager" in record.reason  # one in each input set
    assert "got nan" in record.reason
    assert tuple(record.parity["worst"]["index"]) == (0, 5)


def test_wrong_layouts_are_told_in_the_dtypes_of_the_model(found):
    assert "torch.float64" in found("bert", "bf16")["another_dtype"].reason
    assert "torch.bfloat16" in found("bert", "bf16")["another_dtype"].reason
    assert "2 output tensors, eager gives 1" in found("bert", "bf16")["another_count"].reason


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_stale_output_is_caught_while_it_is_timed(rig, dtype):
    records = rig.run(BERT, "eager", "stale", dtype=dtype, timed=True, **WHERE["bert", dtype])
    assert records["stale"].status is Status.FAILED
    assert "wrong answer while timed to input set" in records["stale"].reason
    assert records["stale"].throughput is None, "a fast wrong answer has no speed"
    assert records["eager"].measured


def test_dropout_left_on_in_the_model_leaves_it_unchecked(rig):
    record = rig.one(specimen("Forgetful"))
    assert record.status is Status.UNCHECKED
    assert re.search(
        "eager does not agree with itself: input set [0-3], output 0 differs by", record.reason
    )
    assert "is dropout left on" in record.reason
    assert "torch's generator has moved" in record.reason


def test_a_model_that_ignores_its_mask_leaves_it_unchecked(rig):
    deaf = rig.one(specimen("Deaf", "rows_with_mask", mask="mask"))
    assert deaf.status is Status.UNCHECKED
    assert deaf.reason.startswith("insensitive: with the mask ignored the error is")


def test_a_mask_that_is_no_tensor_is_a_wrong_declaration(rig):
    record = rig.one(specimen("Nested", "nested", mask="factor"))
    assert record.status is Status.FAILED
    assert "mask='factor' is no input that is a tensor" in record.reason


@pytest.mark.parametrize("backend", ["compile", "onnxruntime"])
def test_unmodified_backends_pass(rig, backend):
    record = rig.one(BERT, backend, **WHERE["bert", "fp32"])
    assert (record.status, record.reason) == (Status.OK, "")
    assert record.facts["mask_sensitivity"] > 3 * record.error_allowed


def test_a_backend_that_is_wrong_on_labelled_samples_only_is_found(shared):
    """``stale`` answers the checked inputs rightly, and from then on with what it answered last."""
    case = Case(
        "digits_of_no_training",
        model="models.cnn:DigitsCNN",
        inputs="models.cnn:digit_images",
        shapes={"b32": {"batch": 32}},
        evaluate="models.digits:held_out",
    )

    found = shared.run(case, "eager", "twin", "onnxruntime", "stale")

    for sound in ("eager", "twin", "onnxruntime"):
        assert found[sound].status is Status.OK, found[sound].reason
        assert found[sound].facts["sure_samples"] > 300
    assert found["stale"].status is Status.PARITY_FAILED
    assert "labelled samples of which eager is sure get another class" in found["stale"].reason
    assert found["stale"].top1_agreement < 0.9
