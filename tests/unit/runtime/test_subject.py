"""A case as its worker sees it: built from a seed, cast by the harness, resolved by name."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from paritygate.core.case import Case
from paritygate.runtime.declared import WrongDeclarationError, resolve
from paritygate.runtime.nest import comparable
from paritygate.runtime.subject import BoundCase, arrays, call
from tests.support.rig import specimen, task_of


def subject(case=None, tmp="unused", **changes):
    task = task_of(case or specimen(), tmp, **changes)
    return BoundCase.from_task(task | {"more": "is ignored"})


def weights(**changes):
    return subject(**changes).build().hidden.weight


def test_weights_depend_on_the_seed_and_the_case_and_on_nothing_else():
    torch.manual_seed(99)
    first = weights()
    torch.rand(5)
    assert torch.equal(weights(), first)
    assert torch.equal(weights(dtype_name="bf16"), first.bfloat16())
    assert not torch.equal(weights(seed=1), first)
    assert not torch.equal(weights(case=specimen(name="other")), first)


def test_a_model_is_built_for_inference_and_otherwise_as_it_was_declared():
    module = subject().build()
    assert not any(part.training for part in module.modules())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_input_sets_differ_from_each_other_and_not_from_one_time_to_the_next():
    one = subject()
    assert torch.equal(one.make_inputs(1)[0], subject().make_inputs(1)[0])
    assert not torch.equal(one.make_inputs(1)[0], one.make_inputs(2)[0])
    assert not torch.equal(one.make_inputs(1)[0], subject(seed=5).make_inputs(1)[0])


def test_floating_inputs_are_cast_and_nothing_else_is():
    mixed = {
        "x": torch.rand(2),
        "ids": torch.arange(2),
        "mask": torch.tensor([True]),
        "n": 3,
        "deep": [torch.rand(1)],
    }
    cast = subject(dtype_name="fp16").cast(mixed)
    assert cast["x"].dtype == cast["deep"][0].dtype == torch.float16
    assert (cast["ids"].dtype, cast["mask"].dtype, cast["n"]) == (torch.int64, torch.bool, 3)
    assert mixed["x"].dtype == torch.float32


def texts(sizes, generator):
    return (["a", "b"],)


def lengths(texts):
    return (torch.tensor([len(text) for text in texts]),)


def test_what_is_timed_reads_no_file(tmp_path, monkeypatch):
    case = Case(
        "c",
        model=f"{__name__}:lengths",
        inputs=f"{__name__}:texts",
        preprocess=f"{__name__}:lengths",
        shapes={"b8": {"batch": 2}},
    )
    one = subject(case, tmp=str(tmp_path))
    one.scratch.save("meta", {"consumed": [], "weights": ""})
    read = []
    load = one.scratch.load
    monkeypatch.setattr(one.scratch, "load", lambda name: read.append(name) or load(name))

    for _ in range(3):
        assert one.encode((["a", "bc"],))[0].tolist() == [1, 2]
    assert read == ["meta"]


def test_inputs_are_called_by_position_or_by_name():
    assert call(lambda a, b: a - b, (5, 3)) == 2
    assert call(lambda a, b: a - b, {"b": 3, "a": 5}) == 2


def test_outputs_are_copies():
    buffer = torch.zeros(2)
    (kept,) = comparable((buffer, None))
    buffer += 1
    assert kept.tolist() == [0, 0]


def test_bf16_becomes_float32_for_numpy_and_the_others_stay():
    outputs = arrays(
        [torch.ones(1, dtype=dtype) for dtype in (torch.bfloat16, torch.float16, torch.int32)]
    )
    assert [array.dtype for array in outputs] == [np.float32, np.float16, np.int32]


def test_a_name_is_resolved_or_refused_with_what_there_is():
    assert resolve("math:pi") > 3
    with pytest.raises(WrongDeclarationError, match="there is no module 'maths'"):
        resolve("maths:pi")
    with pytest.raises(WrongDeclarationError, match=r"math has no 'pie'; it has .*, pi, "):
        resolve("math:pie")


def dynamic(inputs, **shapes):
    case = Case(
        "c",
        model="tests.support.specimens:Pooled",
        inputs=f"tests.support.specimens:{inputs}",
        shapes=shapes,
    )
    return subject(case, shape=next(iter(shapes))).dynamic()


def test_dimensions_are_dynamic_where_two_shapes_differ():
    assert dynamic("sequences", a={"batch": 8, "length": 5}, b={"batch": 8, "length": 9}) == [
        {1: "in_0_1"}
    ]
    both = dynamic(
        "sequences",
        a={"batch": 8, "length": 5},
        b={"batch": 8, "length": 9},
        c={"batch": 1, "length": 5},
    )
    assert both == [{0: "in_0_0", 1: "in_0_1"}]


def test_with_one_shape_the_batch_is_dynamic():
    assert dynamic("sequences", a={"batch": 8, "length": 5}) == [{0: "batch"}]


@pytest.mark.parametrize(
    "changed", ["digested.py", "digested_layers.py", "digested_package/deep.py"]
)
def test_the_source_digest_changes_with_the_content_of_a_file_that_was_imported(
    tmp_path, monkeypatch, changed
):
    """Of the model's own, of one beside it, and of a package's without an __init__."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    (tmp_path / "digested_package").mkdir()
    (tmp_path / "digested_package" / "deep.py").write_text("")
    (tmp_path / "digested_layers.py").write_text("import digested_package.deep\n")
    (tmp_path / "digested.py").write_text("import digested_layers\ndef model(): ...\n")
    one = subject(
        Case("c", model="digested:model", inputs="digested:model", shapes={"b8": {"batch": 1}})
    )
    resolve("digested:model")
    before = one.source_digest()
    assert one.source_digest() == before
    (tmp_path / changed).write_text("def model(): return 1\n")
    assert one.source_digest() != before


def test_sources_are_the_users_modules_and_an_installed_one_that_was_named(tmp_path, monkeypatch):
    """What else is installed is told by its version."""
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    (tmp_path / "site-packages").mkdir()
    for name in ("named", "unnamed"):
        (tmp_path / "site-packages" / f"digested_{name}.py").write_text("def model(): ...\n")
        resolve(f"digested_{name}:model")
    case = Case(
        "c",
        model="digested_named:model",
        inputs="digested_named:model",
        shapes={"b8": {"batch": 1}},
    )
    monkeypatch.setitem(
        sys.modules, "torch.generated", SimpleNamespace(__file__=str(tmp_path / "kernel.py"))
    )
    monkeypatch.setitem(sys.modules, "digested_nowhere", SimpleNamespace(__file__="_ops.py"))
    tops = {name.partition(".")[0] for name in subject(case).sources()}

    assert "digested_named" in tops
    assert tops.isdisjoint(
        {"digested_unnamed", "digested_nowhere", "torch", "paritygate", "json", "pytest"}
    )
