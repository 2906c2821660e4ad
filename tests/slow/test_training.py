"""Training cells by real workers: eager and compiled agree, every planted fault is found, what is
learnt is judged.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from paritygate.core.case import Case
from paritygate.core.record import Status
from tests.support.rig import specimen

CNN = Case(
    "train_cnn",
    mode="training",
    model="models.cnn:DigitsCNN",
    inputs="models.training:digit_batch",
    optimizer="models.training:sgd_momentum",
    shapes={"b16": {"batch": 16}},
)
BERT = Case(
    "train_bert",
    mode="training",
    model="models.bert:tiny",
    inputs="models.training:sentence_batch",
    optimizer="models.training:adamw",
    shapes={"b4_s32": {"batch": 4, "seq": 32}},
)
FAULTS = ("gradient_scaled", "labels_shifted", "dropout_on", "nan")
PLANTED = {"train_cnn": (*FAULTS, "without_momentum", "forgetful_optimizer"), "train_bert": FAULTS}


@pytest.fixture(scope="module")
def found(shared):
    """Case -> backend -> record; every group is run once, the sound ones are timed."""
    return {
        case.name: shared.run(case, "eager", "twin", "compile", *PLANTED[case.name], timed=True)
        for case in (CNN, BERT)
    }


@pytest.mark.parametrize("case", PLANTED)
@pytest.mark.parametrize("backend", ["eager", "twin", "compile"])
def test_sound_backends_agree_and_are_timed(found, case, backend):
    record = found[case][backend]

    assert record.status is Status.OK, record.reason
    assert record.measured
    assert record.reference == "float64"
    assert set(record.facts["step_seconds"]) == {"forward", "backward", "optimizer"}
    assert record.flops > 0


@pytest.mark.parametrize(
    ("case", "fault"), [(case, fault) for case, faults in PLANTED.items() for fault in faults]
)
def test_a_planted_fault_is_found(found, case, fault):
    record = found[case][fault]

    assert record.status is Status.PARITY_FAILED, (record.status, record.reason)
    assert not record.measured


@pytest.mark.parametrize("fault", ["without_momentum", "forgetful_optimizer"])
def test_what_only_steps_show_is_told_as_such(found, fault):
    assert found["train_cnn"][fault].reason.startswith("loss curve: ")


def test_a_gradient_is_named_by_its_place(found):
    assert "output 1: error 0.01" in found["train_cnn"]["gradient_scaled"].reason


def test_a_leaked_tensor_a_step_is_found(shared):
    case = replace(CNN, name="soaked", soak=100)
    records = shared.run(case, "eager", "leaking")

    assert records["eager"].status is Status.OK, records["eager"].reason
    assert records["eager"].facts["soak"]["tensors_per_call"] == 0
    assert records["leaking"].status is Status.FAILED
    assert "leak: 1 tensors of every call are kept" in records["leaking"].reason


@pytest.mark.parametrize(("wanted", "status"), [(0.9, Status.OK), (1.0, Status.PARITY_FAILED)])
def test_what_is_learnt_is_judged_by_labelled_samples(shared, wanted, status):
    case = replace(
        CNN,
        name=f"learnt_{wanted:.0%}".rstrip("%"),
        shapes={"b32": {"batch": 32}},
        accuracy=wanted,
        train_data="models.training_data:digit_epochs",
        evaluate="models.digits:held_out",
    )
    record = shared.run(case, "eager")["eager"]

    assert record.status is status
    assert 0.95 <= record.accuracy < 1
    assert record.accuracy_samples == 360
    if status is Status.PARITY_FAILED:
        assert record.reason.endswith(
            "of the labelled samples are answered correctly, 100.0% is required"
        )


def test_a_gradient_that_a_rounding_may_turn_is_unchecked_and_says_why(rig):
    case = specimen("Tied", "tied_rows", mode="backward")
    found = rig.run(case, "eager", "other_side")

    assert found["eager"].status is Status.OK, found["eager"].reason
    assert found["other_side"].status is Status.UNCHECKED
    assert "a gradient jumps here" in found["other_side"].reason
    assert "--bench-seed" in found["other_side"].reason


def test_the_same_fault_where_nothing_jumps_is_a_fault(rig):
    found = rig.one(specimen("Net", mode="backward"), "last_weight")

    assert found.status is Status.PARITY_FAILED, found.reason


def test_a_training_that_rounding_alone_leads_astray_in_eager_is_unchecked(rig):
    found = rig.one(
        replace(CNN, name="wild", optimizer="tests.support.specimens:wild"), dtype="amp_bf16"
    )

    assert found.status is Status.UNCHECKED, found.reason
    assert "eager's own loss curve is too far from float64" in found.reason
