"""Models of every kind that people write are taken as they are, by real workers; or refused with
the reason.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from paritygate.core.case import Case
from paritygate.core.record import Status

HERE = "tests.support.specimens_kinds"


def kind(model, inputs="rows", **options):
    options.setdefault("shapes", {"b8": {"batch": 8}})
    for where in ("preprocess", "output_mask", "evaluate"):
        if where in options:
            options[where] = f"{HERE}:{options[where]}"
    return Case(model.lower(), model=f"{HERE}:{model}", inputs=f"{HERE}:{inputs}", **options)


def training(model, optimizer="models.training:sgd_momentum"):
    return kind(model, "labelled", mode="training", optimizer=optimizer)


def outcome(record):
    return record.status, record.reason


OK = (Status.OK, "")


# -- inputs that are written to


@pytest.mark.parametrize(
    ("model", "inputs", "names"),
    [
        ("AddedTo", "rows", ["0"]),
        ("Assigned", "rows_and_table", ["table"]),
        ("Filling", "rows_with_gaps", ["0"]),
    ],
)
def test_inputs_that_are_written_to_are_named_and_every_call_gets_them_as_they_were(
    rig, model, inputs, names
):
    records = rig.run(kind(model, inputs), "eager", "onnxruntime")
    for record in records.values():
        assert outcome(record) == OK
        assert record.facts["writes_inputs"] == names
        assert (
            f"the model writes to its inputs {names[0]}; every call gets copies"
            in record.warnings[0]
        )


@pytest.mark.parametrize("inputs", ["rows_twice", "rows_from_both_ends"])
def test_inputs_that_share_memory_do_so_in_float64_as_well(rig, inputs):
    record = rig.one(kind("Aliased", inputs))
    assert outcome(record) == OK
    assert record.reference == "float64"
    assert record.facts["writes_inputs"] == ["0", "1"]


def test_a_model_that_writes_to_its_inputs_can_be_timed_in_every_backend(rig):
    records = rig.run(kind("AddedTo"), "eager", "compile", "onnxruntime", timed=True)
    for record in records.values():
        assert outcome(record) == OK
        assert record.measured
        assert record.facts["writes_inputs"] == ["0"]
        assert record.facts.get("batch_invariance", 0.0) < 1e-5, (
            "asked for with inputs as they were"
        )


def test_a_change_by_another_name_that_an_export_drops_is_a_fault_with_its_place(rig):
    """Dropout in eval gives its very input, which torch's functional form takes for another
    tensor.
    """
    records = rig.run(kind("Clamped"), "eager", "compile", "onnxruntime")
    assert outcome(records["eager"]) == OK
    for backend in ("compile", "onnxruntime"):
        assert records[backend].status is Status.PARITY_FAILED
        assert re.search(
            r"Farthest off at input set \d, output 0, index \(\d, \d\)", records[backend].reason
        )
        assert records[backend].facts["writes_inputs"] == ["0"]


def test_a_backend_that_writes_to_inputs_although_eager_does_not_has_failed(rig):
    records = rig.run(kind("Net"), "eager", "scribbling")
    assert outcome(records["eager"]) == OK
    assert outcome(records["scribbling"]) == (
        Status.FAILED,
        "writes into its inputs, which eager leaves as they are",
    )
    assert "writes_inputs" not in records["eager"].facts


def test_a_model_that_writes_to_its_inputs_may_be_run_by_a_backend_that_does(rig):
    assert outcome(rig.run(kind("AddedTo"), "scribbling")["scribbling"]) == OK


# -- state


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("RunningMean", ["buffer mean"]),
        ("Cached", ["buffer past", "buffer position"]),
    ],
)
def test_a_state_in_buffers_is_named_put_back_and_timed(rig, model, names):
    """A running mean; keys and values of the calls before."""
    records = rig.run(kind(model), "eager", "compile", "onnxruntime", timed=True)
    for record in records.values():
        assert outcome(record) == OK
        assert record.facts["state"] == names
        assert record.measured
        assert f"answers depend on earlier calls, through {', '.join(names)}" in record.warnings[0]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Peaking", "buffer peak"),
        ("Listing", "attribute last"),
        ("Growing", "attribute past"),
        ("HoldingACache", "attribute cache"),
        ("Numbering", "attribute calls"),
    ],
)
def test_a_state_in_whatever_the_model_holds_is_named_and_put_back(rig, model, name):
    """A maximum, a list, a tensor that is not there at first, transformers' cache, a number."""
    records = rig.run(kind(model), "eager", "onnxruntime")
    for record in records.values():
        assert outcome(record) == OK
        assert record.facts["state"] == [name]
        assert record.reference == "float64"


def test_a_state_that_grows_is_timed_from_the_start_of_each_block(rig):
    record = rig.run(kind("Growing"), "eager", timed=True)["eager"]
    assert outcome(record) == OK
    assert record.measured


def test_a_state_for_which_torch_compiles_anew_is_a_failure_that_names_it(rig):
    record = rig.one(kind("Growing"), "compile")
    assert record.status is Status.FAILED
    assert "recompile between calls of one layout" in record.reason
    assert "guard `self.past is None` failed" in record.reason


def test_a_state_that_no_answer_depends_on_is_a_fact(rig):
    record = rig.one(kind("Idle"))
    assert outcome(record) == OK
    assert record.facts["state_changed"] == ["buffer steps"]
    assert "state" not in record.facts
    assert record.warnings == []


def test_a_state_in_the_backward_mode_is_put_back_as_well(rig):
    record = rig.one(kind("RunningMean", mode="backward"))
    assert outcome(record) == OK
    assert record.facts["state"] == ["buffer mean"]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("Drifting", ["buffer mean", "attribute factor"]),
        ("Numbering", ["attribute calls"]),
    ],
)
def test_a_state_that_no_state_dict_holds_is_put_back_in_training_as_well(rig, model, names):
    record = rig.one(training(model))
    assert outcome(record) == OK
    assert record.facts["state"] == names
    assert record.reference == "float64"


def test_what_a_training_puts_back_by_itself_is_no_state(rig):
    record = rig.one(training("RunningMean"))
    assert outcome(record) == OK
    assert not {"state", "state_changed"} & record.facts.keys()


def test_compiled_code_that_trains_has_its_state_put_back(rig):
    records = rig.run(training("Drifting"), "eager", "compile", timed=True)
    for record in records.values():
        assert outcome(record) == OK
        assert record.measured


def test_a_package_cannot_be_put_back_and_says_so(rig):
    record = rig.run(kind("RunningMean"), "eager", "aoti")["aoti"]
    assert record.status is Status.SKIPPED
    assert "the model keeps state between calls (buffer mean)" in record.reason


# -- random numbers


@pytest.mark.parametrize(
    ("model", "generator"),
    [
        ("Noisy", "torch's"),
        ("NoisyByNumpy", "numpy's"),
        ("NoisyByPython", "random's"),
    ],
)
def test_random_numbers_in_forward_leave_it_unchecked_and_are_told_as_that(rig, model, generator):
    record = rig.one(kind(model))
    assert record.status is Status.UNCHECKED
    assert record.reason.startswith("eager does not agree with itself: input set")
    assert f"forward draws random numbers ({generator} generator has moved)" in record.reason
    assert "Pass random numbers as inputs" in record.reason


def test_seeded_random_numbers_are_told_as_others_in_float64(rig):
    record = rig.one(kind("Seeded"))
    assert record.status is Status.UNCHECKED
    assert record.reason.startswith("eager itself is too far from float64")
    assert (
        "forward draws random numbers (torch's generator has moved), which are others in float64"
        in record.reason
    )


# -- training


@pytest.mark.parametrize("model", ["Frozen", "PartlyFrozen", "Packed"])
def test_parameters_that_are_not_to_be_trained_stay_so(rig, model):
    """The optimizer raises where it is given others; one of them is of integers."""
    assert outcome(rig.one(training(model, f"{HERE}:sgd"))) == OK


@pytest.mark.parametrize("model", ["Frozen", "Packed"])
def test_gradients_are_of_the_parameters_that_have_some(rig, model):
    assert outcome(rig.one(kind(model, mode="backward"))) == OK


@pytest.mark.parametrize(
    ("model", "kept"), [("FrozenNorm", ["norm"]), ("TrainsNotItsNorm", ["norm", "drop"])]
)
def test_parts_may_keep_a_mode_of_their_own_in_training(rig, model, kept):
    """Dropout that is off would show at once: eager would not agree with itself."""
    record = rig.one(training(model))
    assert outcome(record) == OK
    assert record.facts["in_eval"] == kept


def test_what_keeps_no_mode_of_its_own_is_no_fact(rig):
    for record in (rig.one(kind("FrozenNorm")), rig.one(training("Tied"))):
        assert not {"in_eval", "in_training"} & record.facts.keys()


@pytest.mark.parametrize("model", ["normed", "parametrized", "spectral"])
def test_weights_that_are_computed_can_be_trained(rig, model):
    record = rig.one(training(model))
    assert outcome(record) == OK
    assert record.reference == "float64"


@pytest.mark.parametrize("model", ["Lazy", "Tied"])
def test_lazy_modules_and_tied_weights_can_be_trained(rig, model):
    assert outcome(rig.one(training(model))) == OK


@pytest.mark.parametrize("model", ["normed", "Lazy", "Tied"])
def test_weights_that_are_computed_lazy_or_tied_are_exported(rig, model):
    for record in rig.run(kind(model), "eager", "onnxruntime").values():
        assert outcome(record) == OK


# -- models that differ from build to build


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("DrawnByItself", "buffer drawn"),
        ("DrawnIntoAnAttribute", "attribute tables.first"),
        ("DrawnAsAnArray", "attribute shift"),
    ],
)
def test_what_differs_from_build_to_build_is_named_and_no_backend_is_blamed(rig, model, what):
    for record in rig.run(kind(model), "eager", "onnxruntime").values():
        assert record.status is Status.FAILED
        assert (
            f'model "{HERE}:{model}" differs from build to build: {what} differs from that in another'
            in record.reason
        )
        assert "make it a persistent buffer" in record.reason


@pytest.mark.parametrize("model", ["DrawnIntoAWeight", "DrawnFromSeeds", "KnowsWords"])
def test_what_is_kept_or_comes_from_the_seed_may_be_drawn(rig, model):
    assert outcome(rig.one(kind(model))) == OK


# -- outputs


@pytest.mark.parametrize(
    ("model", "inputs", "outputs"),
    [
        ("InADataclass", "rows", 4),
        ("OfAllKinds", "rows", 7),
        ("ByNumber", "rows", 2),
        ("Distributed", "rows", 2),
        ("gpt2", "words", 5),
    ],
)
def test_answers_of_all_kinds_are_compared(rig, model, inputs, outputs):
    """Dataclasses, named tuples, numbers, strings, None, one tensor twice, distributions,
    caches.
    """
    group = rig.group(kind(model, inputs), "eager", "onnxruntime")
    group.open()
    for record in group.records.values():
        assert outcome(record) == OK
        assert record.reference == "float64"
    with np.load(group.reference.folder / "eager.npz") as kept:
        assert sum(name.startswith("0_") for name in kept.files) == outputs


@pytest.mark.parametrize("model", ["InADataclass", "OfAllKinds"])
def test_answers_of_all_kinds_come_from_compiled_code(rig, model):
    assert outcome(rig.one(kind(model), "compile")) == OK


@pytest.mark.parametrize(
    ("model", "inputs", "tensor"),
    [
        ("Neighbours", "edges_and_rows", "sparse"),
        ("Net", "of_all_lengths", "nested"),
        ("Coarse", "of_eight_bits", "quantized"),
    ],
)
def test_inputs_that_no_exporter_takes_are_told_and_the_others_go_on(rig, model, inputs, tensor):
    records = rig.run(kind(model, inputs), "eager", "onnxruntime")
    assert outcome(records["eager"]) == OK
    assert records["eager"].parity["compared"] > 0
    assert records["onnxruntime"].status is Status.SKIPPED
    assert records["onnxruntime"].reason.startswith(
        f"input '0' is a {tensor} tensor, which torch.export does not take: use a dense one"
    )


def test_an_empty_object_as_an_input_is_one_layout_in_every_set(rig):
    """Somebody's own cache, whose text holds its address."""
    records = rig.run(kind("TakingNotes", "rows_and_notes"), "eager", "compile", "onnxruntime")
    assert [outcome(record) for record in records.values()] == [OK] * 3
    assert records["eager"].parity["compared"] == 4 * 8 * (8 + 8)


@pytest.mark.parametrize("model", ["Sparse", "OfParts", "NumberAlone"])
def test_sparse_and_nested_tensors_and_a_number_alone_are_compared(rig, model):
    assert outcome(rig.one(kind(model))) == OK


def test_a_fault_in_an_answer_of_a_dataclass_is_found_where_it_is(rig):
    record = rig.one(kind("InADataclass"), "wrong_second")
    assert record.status is Status.PARITY_FAILED
    assert ", output 1, index (0, 3): got" in record.reason


def test_an_answer_that_cannot_be_compared_is_named_with_its_class_and_what_to_return(rig):
    record = rig.one(kind("Strange"))
    assert record.status is Status.FAILED
    assert (
        f"the output holds a {HERE}.Foreign at 'more.0', which cannot be compared: return tensors"
        in record.reason
    )


# -- inputs


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        ("Taking", "held"),
        ("gpt2", "words_with_a_cache"),
        ("gpt2", "words_with_an_empty_cache"),
        ("Striding", "views"),
    ],
)
def test_inputs_may_hold_dataclasses_named_tuples_caches_and_views(rig, model, inputs):
    for record in rig.run(kind(model, inputs), "eager", "onnxruntime").values():
        assert outcome(record) == OK


def test_a_view_that_is_conjugated_lazily_is_copied_as_it_is(rig):
    assert outcome(rig.one(kind("Conjugated", "conjugates"))) == OK


@pytest.mark.parametrize("inputs", ["arrays", "pictures"])
def test_arrays_and_pictures_are_raw_inputs_of_preprocessing(rig, inputs):
    for record in rig.run(
        kind("Net", inputs, preprocess="looked_at"), "eager", "onnxruntime", timed=True
    ).values():
        assert outcome(record) == OK
        assert record.measured


@pytest.mark.parametrize(
    ("inputs", "preprocess"), [("arrays", "written_over"), ("pictures", "painted_over")]
)
def test_preprocessing_that_writes_over_its_inputs_gets_copies(rig, inputs, preprocess):
    records = rig.run(
        kind("Net", inputs, preprocess=preprocess), "eager", "onnxruntime", timed=True
    )
    for record in records.values():
        assert outcome(record) == OK
        assert record.facts["writes_inputs"] == [f"0.{number}" for number in range(8)]


# -- TorchScript


@pytest.mark.parametrize(
    ("model", "name"), [("scripted", "RecursiveScriptModule"), ("traced", "TopLevelTracedModule")]
)
def test_torchscript_runs_in_eager_and_is_skipped_where_it_is_not_taken(rig, model, name):
    records = rig.run(kind(model), "eager", "compile", "onnxruntime", "aoti")
    assert outcome(records.pop("eager")) == OK
    for record in records.values():
        assert record.status is Status.SKIPPED
        assert record.reason.startswith(f"the model is a TorchScript module ({name})")
        assert record.reason.endswith("use the module before it was scripted or traced")


# -- padding


def test_what_is_wrong_at_masked_positions_alone_is_told_as_that(rig):
    records = rig.run(
        kind("Tagging", "padded"), "eager", "onnxruntime", "wrong_padding", "wrong_token"
    )
    assert outcome(records["eager"]) == outcome(records["onnxruntime"]) == OK
    for wrong in ("wrong_padding", "wrong_token"):
        assert records[wrong].status is Status.PARITY_FAILED
    assert records["wrong_padding"].reason.endswith(
        "All of it lies at positions that the input 'mask' masks: if nobody reads them, declare mask='mask', or which "
        "ones count by output_mask="
    )
    assert "All of it lies" not in records["wrong_token"].reason


@pytest.mark.parametrize(
    "declared",
    [
        {"mask": "mask"},
        {"output_mask": "unpadded_tags"},
        {"output_mask": "unpadded"},
    ],
    ids=str,
)
def test_with_a_mask_declared_only_unmasked_positions_are_compared(rig, declared):
    """One mask is of all outputs that have its dimensions; here of the tags, and not of the texts'
    own answers.
    """
    records = rig.run(
        kind("Tagging", "padded", **declared),
        "eager",
        "onnxruntime",
        "wrong_padding",
        "wrong_token",
    )
    for right in ("eager", "onnxruntime", "wrong_padding"):
        assert outcome(records[right]) == OK
        assert records[right].parity["uncompared"]["masked"] % 5 == 0
        assert records[right].parity["compared"] > 0
    assert records["wrong_token"].status is Status.PARITY_FAILED


# -- dynamic dimensions


def test_a_table_that_is_as_long_as_the_batch_by_chance_stays_static(rig):
    record = rig.run(
        kind("Anchored", "rows_and_as_many", shapes={"b4": {"batch": 4}}), "onnxruntime"
    )["onnxruntime"]
    assert outcome(record) == OK
    assert record.facts["dynamic"] == [[0], []]


@pytest.mark.parametrize(
    ("declared", "dims"), [(("seq",), [1]), (("batch", "seq"), [0, 1]), ((), [])]
)
def test_dimensions_that_are_declared_are_dynamic_and_no_others(rig, declared, dims):
    case = kind("Pooled", "sequences", shapes={"b4": {"batch": 4, "seq": 6}}, dynamic=declared)
    record = rig.run(case, "onnxruntime")["onnxruntime"]
    assert outcome(record) == OK
    assert record.facts["dynamic"] == [dims]


def test_a_declared_dimension_that_cannot_be_dynamic_is_a_failure_with_the_exporters_reason(rig):
    case = kind("OfSix", "sequences", shapes={"b4": {"batch": 4, "seq": 6}}, dynamic=("seq",))
    record = rig.run(case, "eager", "onnxruntime")["onnxruntime"]
    assert record.status is Status.FAILED
    assert "inferred a static shape of 6 for dimension inputs['flat'][0].shape[1]" in record.reason


# -- slow calls; nothing, and hardly anything to compare


@pytest.mark.parametrize(("model", "least", "most"), [("Sleepy", 5, 20), ("Drowsy", 4, 4)])
def test_a_slow_model_is_checked_on_fewer_input_sets_and_on_four_at_least(rig, model, least, most):
    """At 0.4 seconds a call, and at 2.5; a quick one is checked on 32 rows."""
    record = rig.one(kind(model, shapes={"b1": {"batch": 1}}))
    assert outcome(record) == OK
    assert least <= record.facts["checked_sets"] <= most


def test_a_quick_model_is_checked_on_thirty_two_rows(rig):
    assert rig.one(kind("Net", shapes={"b1": {"batch": 1}})).facts["checked_sets"] == 32
    assert rig.one(kind("Net")).facts["checked_sets"] == 4


def test_without_an_element_nothing_is_checked(rig):
    for record in rig.run(
        kind("Net", shapes={"b0": {"batch": 0}}), "eager", "onnxruntime"
    ).values():
        assert outcome(record) == (
            Status.UNCHECKED,
            "nothing to compare: the outputs hold no element (shapes (0, 8))",
        )


def test_one_output_without_an_element_beside_others_is_no_matter(rig):
    for record in rig.run(kind("PartlyEmpty"), "eager", "onnxruntime").values():
        assert outcome(record) == OK
        assert record.parity["compared"] > 0


@pytest.mark.parametrize("model", ["Summing", "Residue"])
def test_an_output_that_is_zero_but_for_rounding_is_unchecked_alone(rig, model):
    records = rig.run(kind(model), "eager", "onnxruntime", "wrong_first", "wrong_second")
    for right in ("eager", "onnxruntime"):
        assert outcome(records[right]) == OK
        assert records[right].parity["coarse"] == [1]
        assert records[right].parity["compared"] > 0
    assert records["wrong_first"].status is Status.PARITY_FAILED
    assert records["wrong_first"].reason.startswith("output 0: error")
    assert records["wrong_second"].status is Status.PARITY_FAILED, "a gross fault is one there, too"
    assert records["wrong_second"].reason.startswith("output 1: error")


def test_a_model_that_gives_nothing_but_rounding_is_unchecked(rig):
    record = rig.one(kind("OnlyRounding"))
    assert record.status is Status.UNCHECKED
    assert record.reason.startswith(
        "eager itself is too far from float64: output 0: eager's own error"
    )


# -- float32 inside


@pytest.mark.parametrize("model", ["Normed", "SoftInFloat"])
def test_a_model_that_casts_to_float32_inside_is_compared_with_float64_all_the_same(rig, model):
    records = rig.run(kind(model), "eager", "onnxruntime", "wrong_first")
    for right in ("eager", "onnxruntime"):
        assert outcome(records[right]) == OK
        assert records[right].reference == "promoted"
        assert records[right].facts["promoted"]["casts"] > 0
        assert records[right].eager_error < 1e-6
    assert records["wrong_first"].status is Status.PARITY_FAILED


def test_a_table_of_float32_that_the_model_writes_to_is_written_in_float64_too(rig):
    record = rig.one(kind("Tabled"))
    assert outcome(record) == OK
    assert record.eager_error < 1e-6


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_kinds_hold_in_half_precision(rig, dtype):
    for case in (
        kind("AddedTo"),
        kind("RunningMean"),
        kind("Tagging", "padded", mask="mask"),
        kind("Normed"),
    ):
        assert outcome(rig.one(case, dtype=dtype)) == OK


# -- errors of the user's own


@pytest.mark.parametrize(
    ("case", "message", "what"),
    [
        (kind("failing_model"), "RuntimeError: the weights are not here", "model"),
        (kind("Net", "failing_inputs"), "KeyError: 'rows'", "inputs"),
        (
            kind("Net", preprocess="failing_preprocess"),
            "ValueError: no such vocabulary",
            "preprocess",
        ),
        (kind("Net", evaluate="failing_samples"), "OSError: no such file", "evaluate"),
    ],
    ids=["model", "inputs", "preprocess", "evaluate"],
)
def test_an_error_of_the_users_own_names_the_string_of_the_case(rig, case, message, what):
    record = rig.one(case)
    location = getattr(case, what)
    assert record.status in (Status.FAILED, Status.UNCHECKED)
    assert message in record.reason
    assert f'raised by {what} "{location}"' in record.reason
    assert location.partition(":")[2] in record.facts["trace"] or record.status is Status.UNCHECKED
