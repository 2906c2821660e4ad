"""Float64 whatever a model casts to; what takes no doubles is computed piece by piece, and nothing
else is changed.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from paritygate.runtime.promoted import Promoted, grouped_mm

SHORT = (torch.float32, torch.float16, torch.bfloat16)


def doubles(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


X = doubles(3, 4)


def promoted(run):
    """What ``run`` gives under the mode, and what was done for it."""
    mode = Promoted()
    with mode:
        made = run()
    return made, mode.facts()


@pytest.mark.parametrize("dtype", SHORT)
def test_casts_to_shorter_floats_are_casts_to_doubles(dtype):
    for cast in (lambda: X.to(dtype), lambda: X.type(dtype), lambda: X.to(dtype=dtype, copy=True)):
        made, done = promoted(cast)
        assert torch.equal(made, X)
        assert made.dtype == torch.float64
        assert done["casts"] >= 1


def test_every_cast_is_counted():
    made, done = promoted(lambda: X.float().half().bfloat16())
    assert torch.equal(made, X)
    assert done == {"casts": 3, "operators": {}}
    assert promoted(lambda: X * 2)[1] == {"casts": 0, "operators": {}}


@pytest.mark.parametrize("operator", [functional.softmax, functional.log_softmax])
@pytest.mark.parametrize("dtype", SHORT)
def test_a_softmax_in_another_dtype_is_one_of_doubles(operator, dtype):
    made, _ = promoted(lambda: operator(X, dim=-1, dtype=dtype))
    assert torch.equal(made, operator(X, dim=-1))


@pytest.mark.parametrize("reduce", [torch.sum, torch.mean, torch.cumsum, torch.prod])
def test_a_sum_in_another_dtype_is_one_of_doubles(reduce):
    made, _ = promoted(lambda: reduce(X, dim=-1, dtype=torch.float32))
    assert torch.equal(made, reduce(X, dim=-1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(2),
        lambda: torch.ones(2, dtype=torch.float16),
        lambda: torch.full((2,), 1.5),
        lambda: torch.full((2,), 1.5, dtype=torch.float32),
        lambda: torch.arange(3.0),
        lambda: torch.eye(2),
        lambda: torch.arange(3, dtype=torch.float32),
        lambda: torch.linspace(0, 1, 3, dtype=torch.bfloat16),
        lambda: torch.empty(2, dtype=torch.float32),
        lambda: X.new_zeros(2),
        lambda: torch.rand(2),
        lambda: torch.randn(2),
        lambda: torch.zeros_like(X, dtype=torch.float32),
        lambda: torch.tensor(1.5),
        lambda: torch.scalar_tensor(1.5),
        lambda: torch.arange(3).float(),
        lambda: torch.arange(3).to(torch.float32),
        lambda: X.new_tensor([1.0]),
    ],
)
def test_tensors_are_made_as_doubles(make):
    assert promoted(make)[0].dtype == torch.float64


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(2, dtype=torch.int32),
        lambda: torch.arange(3),
        lambda: X > 0,
        lambda: X.to(torch.int64),
        lambda: X.argmax(),
        lambda: torch.ones(2, dtype=torch.bool),
        lambda: X.to(torch.uint8),
    ],
)
def test_what_is_no_float_stays_what_it_is(make):
    (made, done), plain = promoted(make), make()
    assert made.dtype == plain.dtype
    assert torch.equal(made, plain)
    assert done == {"casts": 0, "operators": {}}


def test_quotients_of_integers_are_doubles():
    thirds = torch.arange(4, dtype=torch.float64) / 3
    for divide in (
        lambda: torch.arange(4) / 3,
        lambda: torch.arange(4) / torch.tensor(3),
        lambda: torch.true_divide(torch.arange(4), 3),
        lambda: torch.arange(4).float() / 3,
    ):
        assert torch.equal(promoted(divide)[0], thirds)
    assert promoted(lambda: torch.arange(7) // 2)[0].dtype == torch.int64
    assert torch.equal(
        promoted(lambda: torch.arange(4).float().mean())[0], torch.tensor(1.5, dtype=torch.float64)
    )


def test_bits_that_are_read_as_another_dtype_stay_as_they_are():
    assert torch.equal(promoted(lambda: X.view(torch.int64))[0], X.view(torch.int64))
    ones = torch.ones(2).view(torch.int32)
    assert promoted(lambda: ones.view(torch.float32))[0].tolist() == [1, 1]
    assert promoted(lambda: X.view(torch.int64))[1]["casts"] == 0


def test_shorter_floats_beside_doubles_are_read_as_doubles():
    shift, weight = np.full(4, 0.1, dtype=np.float32), torch.full((4, 4), 0.3).bfloat16()
    made, _ = promoted(lambda: (X + torch.from_numpy(shift)) @ weight)
    assert torch.equal(made, (X + torch.from_numpy(shift).double()) @ weight.double())
    gain, bias = torch.full((4,), 0.7), torch.full((4,), 0.1)
    made, _ = promoted(lambda: functional.layer_norm(X, (4,), gain, bias))
    assert torch.equal(made, functional.layer_norm(X, (4,), gain.double(), bias.double()))


WRITES = {
    "add_": lambda to: to.add_(X),
    "augmented": lambda to: to.__iadd__(X),
    "copy_": lambda to: to.copy_(X),
    "row": lambda to: to.__setitem__(1, X[0]),
    "column": lambda to: to[:, 2].add_(X[:, 0]),
    "by_tensor": lambda to: to.__setitem__(torch.tensor([0, 2]), X[:2]),
    "by_mask": lambda to: to.__setitem__(X > 0, X[X > 0]),
    "index_add_": lambda to: to.index_add_(0, torch.tensor([0, 1]), X[:2]),
    "scatter_": lambda to: to.scatter_(0, torch.zeros(1, 4, dtype=torch.long), X[2:]),
    "masked_fill_": lambda to: to.masked_fill_(X > 0, X[0, 0]),
    "lerp_": lambda to: to.lerp_(X, 0.5),
    "out": lambda to: torch.add(X, 1, out=to),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize(
    "make", [lambda: torch.zeros(3, 4), lambda: torch.from_numpy(np.zeros((3, 4), np.float32))]
)
def test_doubles_that_are_written_into_a_shorter_float_arrive_there(name, make):
    """A cache or a table that the model keeps in an attribute, past ``double()``."""
    write, wanted = WRITES[name], torch.zeros(3, 4, dtype=torch.float64)
    write(wanted)
    target = make()
    promoted(lambda: write(target))
    assert target.dtype == torch.float32
    assert torch.equal(target, wanted.float())
    assert target.any()


def test_a_write_gives_the_tensor_that_was_written_to():
    target = torch.zeros(3, 4)
    assert promoted(lambda: target.add_(X))[0] is target
    double = X.clone()
    assert promoted(lambda: double.add_(torch.ones(3, 4)))[0] is double
    assert torch.equal(double, X + 1)


def test_autocast_changes_nothing():
    def run():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return functional.linear(X, X)

    assert torch.equal(promoted(run)[0], X @ X.T)


class Casting(nn.Module):
    """As language models do: normed in float32, softmax in float32, back to the dtype of the
    input.
    """

    def __init__(self):
        super().__init__()
        self.weight, self.lin = nn.Parameter(torch.ones(8)), nn.Linear(8, 8)

    def forward(self, x):
        y = x.to(torch.float32)
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-6)
        y = self.lin(self.weight * y.to(x.dtype))
        return functional.softmax(y, dim=-1, dtype=torch.float32).to(y.dtype) + torch.arange(8) / 8


def test_a_model_that_casts_inside_answers_as_if_it_did_not():
    model, x = Casting().double(), doubles(2, 8)
    made, done = promoted(lambda: model(x))
    y = model.lin(x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))
    assert torch.allclose(
        made, y.softmax(-1) + torch.arange(8, dtype=torch.float64) / 8, rtol=1e-15, atol=1e-15
    )
    assert done["casts"] >= 2
    assert (model(x) - made).abs().max() > 1e-9, "without the mode it is off by float32's rounding"


# -- operators that take no doubles


OFFSETS = [[2, 2, 7], [7, 7, 7], [0, 3, 7], [1, 4, 7]]  # groups without a row among them


@pytest.mark.parametrize("ends", OFFSETS, ids=str)
@pytest.mark.parametrize("shape", ["rows", "columns", "sums", "batch"])
def test_a_grouped_product_is_a_product_for_each_group(shape, ends):
    begins, offsets = [0, *ends[:-1]], torch.tensor(ends, dtype=torch.int32)
    groups = list(zip(begins, ends, strict=True))
    if shape == "rows":
        one, other = doubles(7, 16), doubles(3, 16, 8, seed=1)
        wanted = torch.zeros(7, 8, dtype=torch.float64)
        for group, (begin, end) in enumerate(groups):
            for row in range(begin, end):
                wanted[row] = one[row] @ other[group]
    elif shape == "columns":
        one, other = doubles(3, 8, 16), doubles(16, 7, seed=1)
        wanted = torch.zeros(8, 7, dtype=torch.float64)
        for group, (begin, end) in enumerate(groups):
            for column in range(begin, end):
                wanted[:, column] = one[group] @ other[:, column]
    elif shape == "sums":
        one, other = doubles(8, 7), doubles(7, 16, seed=1)
        wanted = torch.zeros(3, 8, 16, dtype=torch.float64)
        for group, (begin, end) in enumerate(groups):
            for place in range(begin, end):
                wanted[group] += torch.outer(one[:, place], other[place])
    else:
        one, other, offsets = doubles(3, 8, 16), doubles(3, 16, 4, seed=1), None
        wanted = torch.stack([a @ b for a, b in zip(one, other, strict=True)])
    assert torch.allclose(grouped_mm(one, other, offsets), wanted, rtol=1e-14, atol=1e-14)

    made, done = promoted(lambda: functional.grouped_mm(one, other, offs=offsets))
    assert torch.allclose(made, wanted, rtol=1e-14, atol=1e-14)
    assert done["operators"] == {"_grouped_mm": 1}


def test_a_grouped_product_agrees_with_torchs_own_in_the_dtypes_that_it_takes():
    one, other, offsets = (
        doubles(8, 16),
        doubles(2, 16, 8, seed=1),
        torch.tensor([3, 8], dtype=torch.int32),
    )
    short = functional.grouped_mm(one.bfloat16(), other.bfloat16(), offs=offsets)
    made = grouped_mm(one.bfloat16().double(), other.bfloat16().double(), offsets)
    assert torch.allclose(short.double(), made, rtol=0.02, atol=0.02)


def test_a_grouped_product_with_another_dtype_asked_for_is_one_of_doubles():
    one, other = doubles(3, 8, 16), doubles(3, 16, 4, seed=1)
    made, _ = promoted(lambda: functional.grouped_mm(one, other, out_dtype=torch.bfloat16))
    assert torch.equal(made, torch.bmm(one, other))


def test_shorter_floats_alone_are_computed_as_ever():
    """A mode that has nothing to promote leaves operators alone."""
    one, other = doubles(8, 16).bfloat16(), doubles(2, 16, 8, seed=1).bfloat16()
    offsets = torch.tensor([3, 8], dtype=torch.int32)
    made, done = promoted(lambda: functional.grouped_mm(one, other, offs=offsets))
    assert torch.equal(made, functional.grouped_mm(one, other, offs=offsets))
    assert done["operators"] == {}


def test_an_error_that_is_not_of_the_dtype_is_raised():
    with pytest.raises(RuntimeError, match="cannot be multiplied"), Promoted():
        X @ X
    with pytest.raises(ZeroDivisionError), Promoted():
        X.sum() / (1 // 0)


# -- what is left behind


def test_the_default_dtype_is_as_before_whatever_happens():
    for before in (torch.float32, torch.bfloat16):
        torch.set_default_dtype(before)
        try:
            with Promoted():
                assert torch.get_default_dtype() == torch.float64
            assert torch.get_default_dtype() == before
            with pytest.raises(ValueError, match="in the middle"), Promoted():
                raise ValueError("in the middle")
            assert torch.get_default_dtype() == before
        finally:
            torch.set_default_dtype(torch.float32)


def test_the_mode_can_be_entered_in_itself_and_again():
    mode = Promoted()
    for _ in range(2):
        with mode:
            with mode:
                assert torch.zeros(1).dtype == torch.float64
            assert torch.get_default_dtype() == torch.float64
            assert X.float().dtype == torch.float64
        assert torch.get_default_dtype() == torch.float32
        assert X.float().dtype == torch.float32
    assert mode.facts()["casts"] == 2


def test_modes_in_each_other_leave_the_outer_one_on():
    outer, inner = Promoted(), Promoted()
    with outer:
        with inner:
            X.float()
        X.half()
        assert torch.zeros(1).dtype == torch.float64
    assert torch.get_default_dtype() == torch.float32
    assert (inner.casts, outer.casts) == (1, 1)
