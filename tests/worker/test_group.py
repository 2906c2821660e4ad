"""A group on its way: what becomes of its cells when a worker, the model or the reference fails;
and when none does.
"""

from dataclasses import replace

import pytest

from paritygate.core.case import Case
from paritygate.core.record import Status
from tests.support.rig import BUDGET, specimen

NET = specimen()


@pytest.fixture(scope="module")
def ended(shared):
    """Cells that end in every way there is, in one group."""
    case = specimen(deadline=20.0, name="endings")
    return shared.run(
        case, "segfault", "killed", "left", "hung", "refused", "hog", "nan", "eager", "twin"
    )


@pytest.mark.parametrize(
    ("backend", "status", "reason"),
    [
        ("segfault", Status.CRASHED, "killed by SIGSEGV (signal 11) while: preparing the model"),
        ("killed", Status.CRASHED, "killed by SIGKILL (signal 9) while: preparing the model"),
        ("left", Status.CRASHED, "exited with status 3 while: preparing the model"),
        (
            "hung",
            Status.TIMED_OUT,
            "no answer within the 20 s of deadline= while: preparing the model",
        ),
        ("refused", Status.FAILED, "ZeroDivisionError: I would rather not"),
        ("hog", Status.OUT_OF_MEMORY, "can't allocate memory"),
        ("nan", Status.PARITY_FAILED, "4 elements are NaN or infinite, 0 in eager"),
        ("eager", Status.OK, ""),
        ("twin", Status.OK, ""),
    ],
)
def test_every_end_has_its_own_status_and_reason_and_spares_the_others(
    ended, backend, status, reason
):
    record = ended[backend]
    assert record.status is status, record.reason
    assert reason in record.reason


def test_a_crash_keeps_the_last_words_and_where_it_fell(ended):
    assert "last words before 11" in ended["segfault"].facts["trace"]
    assert "Fatal Python error: Segmentation fault" in ended["segfault"].facts["trace"]
    assert "in now" in ended["segfault"].facts["trace"], "the call that fell"
    assert ended["left"].facts["trace"] == "leaving"
    assert "in refuse" in ended["refused"].facts["trace"]


def test_an_exporter_that_falls_ends_its_own_cells_alone(rig):
    records = rig.run(NET, "eager", "twin", "falls_when_exported")

    assert records["falls_when_exported"].status is Status.CRASHED
    assert "while: making what falls_when_exported needs" in records["falls_when_exported"].reason
    assert [records[name].status for name in ("eager", "twin")] == [Status.OK, Status.OK]


def test_a_worker_that_falls_while_it_is_timed_leaves_the_others_to_be_measured(rig):
    records = rig.run(NET, "eager", "twin", "falls_when_timed", timed=True)
    assert records["falls_when_timed"].status is Status.CRASHED
    assert "SIGSEGV" in records["falls_when_timed"].reason
    assert not records["falls_when_timed"].measured
    for backend in ("eager", "twin"):
        assert records[backend].status is Status.OK
        assert records[backend].throughput > 0
    assert records["eager"].speedup == 1.0
    assert records["twin"].speedup > 0
    assert records["twin"].speedup_low is None, "one launch has no interval"


def test_a_worker_that_hangs_while_it_is_timed_is_ended(rig, monkeypatch):
    monkeypatch.setattr("paritygate.process.timed_worker.BLOCK_DEADLINE", 3.0)
    record = rig.run(NET, "eager", "hangs_when_timed", timed=True)["hangs_when_timed"]
    assert record.status is Status.TIMED_OUT
    assert "no answer within 3 s" in record.reason


SLEEPY = """
import time
from tests.support.specimens import Net, rows


class Sleepy(Net):
    def forward(self, x):
        time.sleep(0.8)
        return super().forward(x)
"""


@pytest.mark.parametrize("declared", [None, 6.0])
def test_a_slow_model_gets_the_time_that_its_calls_take_unless_its_deadline_is_declared(
    rig, declared
):
    rig.module("sleepy", SLEEPY)
    case = Case(
        "sleepy",
        model="sleepy:Sleepy",
        inputs="sleepy:rows",
        shapes={"b8": {"batch": 8}},
        deadline=declared,
    )
    group = rig.group(case, "eager")
    # its longest answer takes at least eight calls
    group.reference.laboratory.budget = replace(BUDGET, open_deadline=6.0)
    group.open()
    (record,) = group.records.values()

    assert record.status is (Status.OK if declared is None else Status.TIMED_OUT), record.reason
    assert ("no answer within the 6 s of deadline= while: " in record.reason) == (
        declared is not None
    )


def test_eager_takes_part_unreported_where_it_was_not_selected(rig):
    records = rig.run(NET, "twin", timed=True)
    assert records["twin"].speedup is not None
    assert records["eager"].measured


def test_without_timing_nobody_stays_behind(rig):
    group = rig.group(NET, "eager", "twin")
    group.open()
    assert {cell.worker for cell in group.cells.values()} == {None}
    assert {record.status for record in group.records.values()} == {Status.OK}
    assert not any(record.measured for record in group.records.values())


def test_a_check_that_passes_is_told_with_all_its_numbers(rig):
    records = rig.run(NET, "eager", "twin")
    record = records["twin"]
    assert record.reference == "float64"
    assert 0 < record.error <= record.error_allowed
    assert record.error == record.eager_error
    assert record.parity["compared"] == 4 * 8 * 4  # sets x rows x logits
    assert record.parameters == 16 * 32 + 32 + 32 * 4 + 4
    assert record.flops == 2 * 8 * (16 * 32 + 32 * 4)
    assert record.facts["settings"]["threads"] == 2
    assert record.top1_agreement == 1.0
    assert records["eager"].facts["batch_invariance"] < 1e-5


def test_a_batch_of_one_is_checked_on_32_sets(rig):
    record = rig.one(specimen(shapes={"b1": {"batch": 1}}))
    assert record.facts["checked_sets"] == 32
    assert record.parity["compared"] == 32 * 4


def test_integer_outputs_are_compared_too(rig):
    assert rig.one(specimen("Counting")).status is Status.OK


# -- the reference


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("Single", 'cannot run in float64 declares reference="eager"'),
        ("Bloated", "the float64 reference ran out of memory"),
        ("Undefined", "declare Case(nonfinite=True)"),
    ],
)
def test_without_a_reference_a_cell_is_unchecked_and_told_what_to_do(rig, model, reason):
    records = rig.run(specimen(model), "eager", "twin", timed=True)
    for record in records.values():
        assert record.status is Status.UNCHECKED
        assert reason in record.reason
        assert not record.measured


def test_a_model_that_casts_by_itself_is_promoted_to_float64_and_the_record_says_so(rig):
    records = rig.run(specimen("Casting"), "eager", "twin", "last_weight")
    assert (records["twin"].status, records["twin"].reference) == (Status.OK, "promoted")
    assert records["twin"].facts["promoted"]["casts"] > 0
    assert records["last_weight"].status is Status.PARITY_FAILED


def test_what_cannot_be_checked_is_not_exported_either(rig):
    record = rig.run(specimen("Single"), "eager", "onnxruntime")["onnxruntime"]
    assert record.status is Status.UNCHECKED
    assert record.prepare_cold_seconds is None


def test_a_model_for_eager_alone_is_checked_against_eager_and_the_record_says_so(rig):
    records = rig.run(specimen("Single", reference="eager"), "eager", "twin", "last_weight", "nan")
    assert records["twin"].status is Status.OK
    assert records["twin"].reference == "eager"
    assert records["last_weight"].status is Status.PARITY_FAILED
    assert "against eager, allowed 0.0001" in records["last_weight"].reason
    assert records["nan"].status is Status.PARITY_FAILED


def test_a_declared_nan_is_compared_around(rig):
    records = rig.run(
        specimen("Undefined", nonfinite=True), "eager", "twin", "last_weight", timed=True
    )
    assert records["twin"].status is Status.OK
    assert records["twin"].measured
    assert records["last_weight"].status is Status.PARITY_FAILED


def test_eager_that_is_beyond_the_cap_itself_leaves_everything_unchecked(rig, tmp_path):
    record = rig.one(specimen(tolerance="fp32"), dtype="bf16")
    assert record.status is Status.UNCHECKED
    assert "eager itself is too far from float64" in record.reason


def test_a_reference_worker_that_crashes_leaves_the_cells_failed_with_the_reason(rig):
    records = rig.run(specimen("Segfaulting"), "eager", "twin")
    for record in records.values():
        assert record.status is Status.CRASHED
        assert "killed by SIGSEGV (signal 11) while: running eager" in record.reason
        assert "about to fall" in record.facts["trace"]


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({"model": "nowhere.at_all:Net"}, ["\"nowhere.at_all:Net\": there is no module 'nowhere'"]),
        (
            {"model": "tests.support.specimens:Nett"},
            ["tests.support.specimens has no 'Nett'; it has", "Wide"],
        ),
        (
            {"model": "tests.support.specimens:no_module"},
            ["tests.support.specimens:no_module", "returned a int", "nn.Module"],
        ),
        ({"model": "tests.support.specimens:failing"}, ["RuntimeError: the weights are not here"]),
        (
            {"model": "tests.support.specimens:Silent"},
            ["tests.support.specimens:Silent", "answers with no tensor"],
        ),
        (
            {"inputs": "tests.support.specimens:a_tensor"},
            ["tests.support.specimens:a_tensor", "returned a Tensor", "a tuple", "a dict"],
        ),
        (
            {"inputs": "tests.support.specimens:missing"},
            ["tests.support.specimens has no 'missing'"],
        ),
        (
            {"inputs": "tests.support.specimens:other_every_time"},
            [
                "tests.support.specimens:other_every_time",
                "must agree in dtype, shape",
                "set 0 has",
                "set 1 has",
            ],
        ),
    ],
)
def test_a_declaration_that_cannot_be_fails_and_names_the_string(rig, change, reasons):
    record = rig.one(replace(NET, **change))
    assert record.status is Status.FAILED
    for reason in reasons:
        assert reason in record.reason


def test_a_mask_that_is_no_input_is_named_with_the_inputs_there_are(rig):
    record = rig.one(specimen("Nested", "nested", mask="attention"))
    assert (
        "mask='attention' is no input that is a tensor; inputs: ['x', 'pair', 'factor', 'double']"
        in record.reason
    )


def test_a_module_whose_own_import_is_missing_says_which(rig):
    rig.module("lacking", "import something_that_is_not_installed\n")
    record = rig.one(
        specimen(name="lacking").__class__(
            "lacking", model="lacking:Net", inputs=NET.inputs, shapes={"b8": {"batch": 8}}
        )
    )
    assert record.status is Status.FAILED
    assert "No module named 'something_that_is_not_installed'" in record.reason


# -- known failures


def test_a_known_gap_is_noted_while_it_lasts_and_when_it_has_closed(rig):
    case = specimen(
        known_failures={"last_weight": "a weight was rounded", "twin": "was wrong once"}
    )
    records = rig.run(case, "eager", "last_weight", "twin")
    assert records["last_weight"].status is Status.PARITY_FAILED
    assert records["last_weight"].facts["known_gap"] == "a weight was rounded"
    assert records["twin"].facts["gap_closed"] == "was wrong once"
    assert "known_gap" not in records["eager"].facts


# -- what backends must leave alone, and memory


def test_a_backend_that_changes_settings_is_told_which(rig):
    record = rig.run(NET, "eager", "meddling")["meddling"]
    assert record.status is Status.FAILED
    assert "settings changed" in record.reason
    assert "'matmul_precision': ('highest', 'medium')" in record.reason


def test_memory_that_a_backend_takes_shows_in_its_peak(rig):
    records = rig.run(NET, "eager", "hungry")
    more = records["hungry"].peak_bytes - records["eager"].peak_bytes
    assert more == pytest.approx(200 << 20, rel=0.05)


def test_the_reference_costs_a_cell_no_memory(rig):
    record = rig.one(specimen("Wide"))
    weights = 4 * record.parameters
    assert weights < record.peak_bytes < 1.5 * weights, "float64 alone would be twice the weights"
