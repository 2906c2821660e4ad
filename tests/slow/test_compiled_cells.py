"""What torch.compile did is evidence of a cell: breaks, recompiles and eager fallbacks in a real worker."""

from __future__ import annotations

from paritygate.core.case import Case
from paritygate.core.record import Status
from tests.support import specimens_compile
from tests.support.specimens_compile import marked


def case(model, inputs="rows", batch=8, **options):
    shapes = {"one": {"batch": batch} | ({"length": 5} if inputs == "sequences" else {})}
    return Case(
        f"compile_{model.lower()}",
        model=f"tests.support.specimens_compile:{model}",
        inputs=f"tests.support.specimens:{inputs}",
        shapes=shapes,
        **options,
    )


def test_a_counter_in_an_attribute_fails_in_a_worker_at_any_number_of_checked_sets(rig):
    few, many = (rig.one(case("Counter", batch=batch), "compile") for batch in (8, 1))
    assert (few.status, many.status) == (Status.FAILED, Status.FAILED)
    assert few.reason.startswith("recompile")
    assert many.reason.startswith("recompile"), "32 sets: of old, 24 of the answers were eager's"
    for record in (few, many):
        assert "guard `self.calls == " in record.reason
        assert marked(specimens_compile.Counter) in record.reason


def test_a_data_dependent_branch_is_declared_or_fails_in_a_worker(rig):
    undeclared = rig.one(case("ByMean"), "compile")
    assert undeclared.status is Status.FAILED
    assert undeclared.reason.startswith(
        f"graph break: 1 found, 0 declared ({marked(specimens_compile.ByMean)} "
    )
    declared = rig.one(case("ByMean", graph_breaks=1), "compile")
    assert (declared.status, declared.reason) == (Status.OK, "")
    assert (declared.facts["graph_breaks"], declared.facts["recompiles"]) == (1, 0)


def test_recurrent_and_compiled_models_are_skipped_in_a_worker_and_eager_goes_on(rig):
    for model, inputs, reason in (
        ("gru", "sequences", "allow_rnn"),
        ("compiled_in_place", "rows", "was compiled by"),
    ):
        records = rig.run(case(model, inputs), "eager", "compile")
        assert records["eager"].status is Status.OK
        assert records["compile"].status is Status.SKIPPED
        assert reason in records["compile"].reason


def test_a_model_that_ran_in_eager_fails_in_a_worker(rig):
    for model in ("DisabledAlone", "BranchInLoop"):
        record = rig.one(case(model, graph_breaks=1), "compile")
        assert record.status is Status.FAILED
        assert record.reason.startswith("fallback: torch.compile captured ")
        assert "tests/support/specimens_compile.py:" in record.reason


def test_right_models_stay_right_in_a_worker(rig):
    """Preprocessed under the guard; writing into its input; with a state that calls leave
    behind.
    """
    for options in (
        {"preprocess": "tests.support.specimens_compile:halved"},
        {"name": "Changing"},
        {"name": "Stateful"},
    ):
        record = rig.one(case(options.pop("name", "Plain"), **options), "compile")
        assert (record.status, record.reason) == (Status.OK, "")
        assert (record.facts["graphs"], record.facts["recompiles"]) == (1, 0)


def test_an_allowed_recurrent_model_agrees_and_is_timed(rig):
    record = rig.run(case("allowed_gru", "sequences"), "compile", timed=True)["compile"]
    assert (record.status, record.reason, record.facts["graphs"]) == (Status.OK, "", 1)
    assert record.measured
