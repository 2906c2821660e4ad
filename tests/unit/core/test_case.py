"""Declarations: what can be said, what is refused and with which words, and the ids that come of
it.
"""

import json
import sys
from dataclasses import replace

import pytest

from paritygate.core.case import FIELD, Case, Cell, Group, Shape, Target, cell_of
from paritygate.core.declaration import DeclarationError

CASE = Case("net", model="m:Net", inputs="m:inputs", shapes={"b8_s64": {"batch": 8, "seq": 64}})
CPU = Target("cpu", "compile", "fp32")


def test_a_cell_has_five_fields_in_its_id():
    cell = Cell(CASE, CASE.shapes["b8_s64"], CPU)
    assert cell.id == str(cell) == "net-b8_s64-cpu-compile-fp32"
    assert len(cell.id.split("-")) == 5
    assert all(FIELD.fullmatch(part) for part in cell.id.split("-"))
    assert cell.group == Group("net", "b8_s64", "cpu", "fp32")
    assert str(cell.group) == "net-b8_s64-cpu-fp32"


def test_cells_are_the_same_when_their_ids_are():
    one = Cell(CASE, CASE.shapes["b8_s64"], CPU)
    two = Cell(replace(CASE), Shape({"batch": 1}, "b8_s64"), Target("cpu", "compile", "fp32"))
    assert one == two
    assert len({one, two}) == 1
    assert one != Cell(CASE, CASE.shapes["b8_s64"], Target("cpu", "eager", "fp32"))
    assert one != one.id


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "My-Net"}, "case 'My-Net'"),
        ({"name": ""}, "case ''"),
        ({"model": "m.Net"}, "model='m.Net' must look like \"package.module:attribute\""),
        ({"inputs": "inputs"}, "inputs='inputs' must look like"),
        ({"evaluate": "digits"}, "evaluate='digits' must look like"),
        ({"reference": "float16"}, "reference='float16' must be"),
        ({"shapes": {}}, "shapes is empty"),
        ({"shapes": {"B8": {"batch": 8}}}, "shape 'B8'"),
        ({"shapes": {"b": {"batch": -1}}}, "batch=-1 must be a whole number"),
        ({"shapes": {"b": {"batch": 1.5}}}, "batch=1.5 must be a whole number"),
        ({"shapes": {"b": {"seq": 8}}}, "count names 'batch', which shape b lacks (it has seq)"),
        (
            {"targets": "cpu"},
            """targets='cpu' is one string; write a tuple of strings: targets=("cpu",)""",
        ),
        ({"preload": "torch"}, "preload='torch' is one string"),
    ],
)
def test_what_cannot_be_is_refused_with_the_case_the_finding_and_what_is_right(change, words):
    with pytest.raises(DeclarationError) as refused:
        Case(
            **{"name": "net", "model": "m:Net", "inputs": "m:i", "shapes": {"b8": {"batch": 8}}}
            | change
        )
    assert words in str(refused.value)


def test_a_shape_of_an_unknown_budget_is_refused():
    with pytest.raises(DeclarationError, match="budget 'huge' is none of quick, normal, long"):
        Shape({"batch": 1}, budget="huge")


@pytest.mark.parametrize(
    "target", [("cpu", "my-backend", "fp32"), ("CPU", "eager", "fp32"), ("cpu", "eager", "fp64")]
)
def test_a_target_that_could_not_be_in_an_id_is_refused(target):
    with pytest.raises(DeclarationError):
        Target(*target)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*", True),
        ("cpu", True),
        ("compile", True),
        ("fp32", True),
        ("comp*", True),
        ("cpu-*", True),
        ("*-compile-*", True),
        ("cpu-compile-fp32", True),
        ("eager", False),
        ("cuda-*", False),
        ("cp", False),
    ],
)
def test_a_glob_without_a_dash_names_one_field_with_one_the_whole(pattern, matches):
    assert CPU.matches(pattern) is matches


def test_a_case_gets_cells_only_for_the_targets_it_wants():
    picky = replace(CASE, shapes={"b": {"batch": 1}}, targets=("*-eager-*", "bf16"))
    shape = picky.shapes["b"]
    assert cell_of(picky, shape, Target("cpu", "eager", "fp32")) is not None
    assert cell_of(picky, shape, Target("cpu", "compile", "bf16")) is not None
    assert cell_of(picky, shape, Target("cpu", "compile", "fp32")) is None


def test_units_are_the_product_of_the_counted_sizes():
    assert CASE.units(CASE.shapes["b8_s64"]) == 8
    tokens = replace(CASE, shapes={"b": {"batch": 8, "seq": 64}}, count=("batch", "seq"))
    assert Cell(tokens, tokens.shapes["b"], CPU).units == 512


def test_shapes_for_parity_come_last_and_are_never_timed():
    case = replace(CASE, shapes={"b8": {"batch": 8}}, parity_shapes={"b1": {"batch": 1}})
    assert [(shape.name, shape.timed) for shape in case.all_shapes()] == [
        ("b8", True),
        ("b1", False),
    ]


def test_the_first_reason_that_matches_is_given():
    skips = {"*-onnxruntime-*": "no such operator", "cpu": "too slow"}
    assert CASE.reason(skips, Target("cpu", "onnxruntime", "fp32")) == "no such operator"
    assert CASE.reason(skips, CPU) == "too slow"
    assert CASE.reason(skips, Target("cuda", "compile", "fp32")) is None


def test_a_case_is_plain_data_for_the_worker():
    case = replace(CASE, shapes={"b": {"batch": 1}}, parity_shapes={"x": {"batch": 2}})
    plain = json.loads(json.dumps(case.as_dict()))
    assert plain["shapes"] == {"b": {"batch": 1}, "x": {"batch": 2}}
    assert plain["model"] == "m:Net"
    there = Case.from_dict(plain)
    assert json.loads(json.dumps(there.as_dict())) == plain
    assert there.sizes("x") == {"batch": 2}


def test_a_worker_needs_no_package_that_reads_versions(monkeypatch):
    plain = replace(CASE, known_failures={"torch>=2.13": "issue 12"}).as_dict()
    monkeypatch.setitem(sys.modules, "packaging.requirements", None)
    assert Case.from_dict(plain).known_failures == {}


TRAINING = {"mode": "training", "optimizer": "m:sgd"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mode": "practice"}, "mode='practice' is none of inference, backward, training"),
        ({"mode": "training"}, 'mode="training" and optimizer= go together'),
        ({"optimizer": "m:sgd"}, 'mode="training" and optimizer= go together'),
        ({"loss": "m:loss"}, 'loss= is for mode="training" only'),
        (TRAINING | {"optimizer": "sgd"}, "optimizer='sgd' must look like"),
        (TRAINING | {"train_data": "m:epochs"}, "train_data= needs evaluate= and accuracy="),
        (
            TRAINING | {"mask": "mask"},
            'mask=, preprocess= and variants= are for mode="inference" only',
        ),
        ({"accuracy": 0.9}, "accuracy=0.9 must be a share"),
        ({"accuracy": 95, "evaluate": "m:held"}, "accuracy=95 must be a share"),
        (
            {"preprocess": "m:encode", "evaluate": "m:held"},
            "evaluate= goes with neither preprocess=",
        ),
        ({"mode": "backward", "evaluate": "m:held"}, "evaluate= goes with neither preprocess="),
        ({"variants": {"Fast": "m:fast"}}, "variant 'Fast'"),
        ({"variants": {"fast": "fast"}}, "variants['fast']='fast' must look like"),
        ({"variants": ("fast",)}, "variants=('fast',) must be a dict"),
        ({"soak": -1}, "soak=-1 must be a number of calls"),
        ({"soak": "many"}, "soak='many' must be a number of calls"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, why):
    with pytest.raises(DeclarationError) as refused:
        Case("c", **{"model": "m:M", "inputs": "m:i", "shapes": {"s": {"batch": 1}}} | changes)
    assert why in str(refused.value)
