"""The audit in real workers: every cheat is named and has no speed, and no honest model is taken for
one.
"""

import pytest

from paritygate.core.case import Case
from paritygate.core.record import Status
from tests.support.rig import specimen

CHEATS = {
    "ByObject": "cached by identity: new values in the memory of an input set get the answer to the",
    "ByAddress": "cached by identity: an input set takes",
    "ByValue": "cached by value: an input set takes",
    "BySum": "cached by value: an input set takes",
    "LastFew": "cached by value: an input set takes",
    "LazyOutput": "lazy output: a call takes",
    "LazyOnce": "lazy output: a call takes",
    "InThread": "lazy output: a call takes",
    "PatchedClock": "replaces time.perf_counter, so its times are not",
    "SlowClock": "replaces the clock of the times, so its times are not",
    "FastClock": "replaces the clock of the times, so its times are not",
    "OddClock": "replaces the clock of the times, so its times are not",
    "WritesLater": "writes into its inputs while timed: input 0 of input set 0 is not as it was",
}
HONEST = ("Honest", "LastTwo", "Dequantised", "Uneven", "LargeOutput", "ManyOutputs")


def case(model, inputs="tests.support.specimens:rows", **options):
    return Case(
        model.lower(),
        model=f"tests.support.cheats:{model}",
        inputs=inputs,
        shapes={"b8": {"batch": 8}},
        **options,
    )


def texts(preprocess):
    return case(
        "Quick",
        "tests.support.cheats:texts",
        preprocess=f"tests.support.cheats:{preprocess}",
    )


@pytest.mark.parametrize("model", CHEATS)
def test_a_cheat_is_named_and_has_no_speed(shared, model):
    record = shared.one(case(model), timed=True)

    assert record.status is Status.FAILED, record.reason
    assert record.reason.startswith(CHEATS[model])
    assert not record.measured


@pytest.mark.parametrize("model", HONEST)
def test_an_honest_model_is_no_cheat(shared, model):
    record = shared.one(case(model), timed=True)

    assert (record.status, record.reason) == (Status.OK, "")
    assert record.measured
    assert "not_audited" not in record.facts


@pytest.mark.parametrize(
    ("backend", "mode"),
    [
        ("compile", "inference"),
        ("onnxruntime", "inference"),
        ("eager", "backward"),
        ("compile", "backward"),
        ("eager", "training"),
        ("compile", "training"),
    ],
)
def test_no_backend_and_no_mode_is_taken_for_a_cheat(shared, backend, mode):
    if mode != "training":
        net = specimen(mode=mode)
    else:
        net = Case(
            "trained",
            model="tests.support.specimens_kinds:Net",
            mode=mode,
            inputs="tests.support.specimens_kinds:labelled",
            optimizer="models.training:sgd",
            shapes={"b8": {"batch": 8}},
        )
    record = shared.one(net, backend, timed=True)

    assert (record.status, record.reason) == (Status.OK, "")
    assert "not_audited" not in record.facts


def test_texts_that_a_tokenizer_remembers_are_no_work(shared):
    kept = shared.one(texts("remembered"), timed=True)
    honest = shared.one(texts("read_again"), timed=True)

    assert kept.status is Status.FAILED
    assert kept.reason.startswith("cached by value: an input set takes")
    assert (honest.status, honest.reason) == (Status.OK, "")
    # texts cannot be overwritten
    assert honest.facts["not_audited"] == [
        "new values in the same memory: the inputs cannot be overwritten"
    ]


def test_what_the_inputs_do_not_allow_is_told(shared):
    same = shared.one(case("Honest", "tests.support.cheats:same_rows"), timed=True)
    expanded = shared.one(case("Honest", "tests.support.cheats:one_row"), timed=True)

    assert same.status is expanded.status is Status.OK
    assert same.facts["not_audited"] == [
        "new values in the same memory: all input sets have the same answer",
        "new values: every input set holds the same values",
    ]
    assert expanded.facts["not_audited"] == [
        "new values in the same memory: the inputs cannot be overwritten"
    ]
