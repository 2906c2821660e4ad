"""Twins of eager: weights and inputs that are off by a rounding, in whatever form they hold their
numbers.
"""

from __future__ import annotations

import pytest
import torch

from paritygate.worker.second_look import _moved

X = torch.linspace(1, 2, 12).reshape(3, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_numbers_are_moved_by_some_roundings_of_their_dtype(dtype):
    given = X.to(dtype)
    moved = _moved(given, torch.Generator().manual_seed(0))
    relative = ((moved.double() - given.double()) / given.double()).abs()
    assert moved.dtype == dtype
    assert (relative > 0).any()
    assert relative.max() < 5 * torch.finfo(dtype).eps


@pytest.mark.parametrize(
    "form", [torch.Tensor.to_sparse, lambda x: torch.nested.nested_tensor([x, x[:1]])]
)
@pytest.mark.filterwarnings("ignore:.*nested tensors is in")
def test_sparse_and_nested_ones_stay(form):
    given = form(X)
    assert _moved(given, torch.Generator()) is given
