"""A wrong value of a declaration is refused where it is written, with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from paritygate.core.case import Case, cases_of
from paritygate.core.declaration import DeclarationError

NET: dict[str, Any] = {"model": "m:Net", "inputs": "m:inputs", "shapes": {"b8": {"batch": 8}}}
ONE = Case("one", **NET)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (ONE, "one Case; a tuple of one needs a comma: CASES = (Case(...),)"),
        ({"one": ONE}, "a dict; write tuple(CASES.values())"),
        ((one for one in [ONE]), "a generator; write tuple(CASES)"),
        ({ONE}, "a set; write tuple(CASES)"),
        ("one", "a str"),
        ((ONE, "two"), "'two' at place 1 of it"),
        ((ONE, (ONE,)), "(Case(name='one', "),
        ((), "none: it is empty"),
        ([], "none: it is empty"),
        (Case, "a type"),
        (None, "a NoneType"),
    ],
)
def test_what_is_no_tuple_of_cases_is_named_with_what_to_write(given, found):
    with pytest.raises(DeclarationError) as refused:
        cases_of(given)

    assert f"CASES must be a tuple of Case, it was given {found}" in str(refused.value)


def test_a_tuple_and_a_list_of_cases_are_right():
    assert cases_of((ONE,)) == cases_of([ONE]) == (ONE,)


@pytest.mark.parametrize("option", ["count", "targets", "preload", "dynamic"])
def test_a_string_is_never_taken_for_a_tuple_of_its_letters(option):
    with pytest.raises(DeclarationError) as refused:
        Case("one", **NET | {option: "batch"})

    assert str(refused.value) == (
        f"case one: {option}='batch' is one string; write a tuple of strings: {option}=(\"batch\",)"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"targets": "cpu, cuda"}, 'write a tuple of strings: targets=("cpu", "cuda")'),
        ({"count": ("batch", 3)}, "count=('batch', 3) must be a tuple of strings"),
        ({"count": {"batch"}}, "count={'batch'} must be a tuple of strings"),
        ({"skips": "cpu"}, "skips='cpu' must be a dict, e.g. {\"*-onnxruntime-*\": "),
        ({"skips": {"cpu": ""}}, "skips['cpu']='' must be the reason, in words"),
        ({"known_failures": ("cpu",)}, "known_failures=('cpu',) must be a dict"),
        ({"known_failures": {"cpu": None}}, "known_failures['cpu']=None must be the reason"),
        ({"shapes": {"batch": 8}}, "shape 'batch': sizes=8 must be a dict, e.g. {\"batch\": 8}"),
        ({"shapes": (8,)}, 'shapes=(8,) must be a dict, e.g. {"b8": {"batch": 8}}'),
        ({"parity_shapes": [3]}, "parity_shapes=[3] must be a dict"),
        ({"tolerated": "5%"}, "tolerated='5%' must be a number, e.g. 0.1 for 10 %"),
        ({"memory": "5%"}, "memory='5%' must be a number, e.g. 0.05 for 5 %"),
        ({"memory": -0.1}, "memory=-0.1 must be a share, e.g. 0.1 for 10 %"),
        ({"keeps": ("fusion",)}, "keeps names 'fusion', which is none of graphs, graph_breaks"),
        ({"keeps": "fusions"}, "keeps="),
        ({"depends": "data/*.csv"}, "depends="),
        ({"deadline": "60"}, "deadline='60' must be a number, e.g. 60, in seconds"),
        ({"graph_breaks": "1"}, "graph_breaks='1' must be a number"),
        ({"accuracy": "0.9", "evaluate": "m:e"}, "accuracy='0.9' must be a number"),
        ({"model": DeclarationError}, 'write model="paritygate.core.declaration:DeclarationError"'),
        ({"model": None}, 'model=None must look like "package.module:attribute"'),
        ({"variants": {"fast": len}}, "write variants['fast']=\"builtins:len\""),
    ],
)
def test_an_option_of_a_wrong_kind_is_named_with_an_example(change, words):
    with pytest.raises(DeclarationError) as refused:
        Case("one", **NET | change)

    assert words in str(refused.value)
