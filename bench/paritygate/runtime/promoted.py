"""Promoted: runs a model in float64 although it casts by itself, or uses operators that take no
doubles.

Under this mode a cast to a shorter float becomes a cast to float64, and tensors that would be made
as shorter floats are made in float64. An operator that refuses doubles is computed piece by piece,
or from its decomposition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from paritygate.runtime import private

SHORT = {torch.float32, torch.float16, torch.bfloat16}
REINTERPRETED = {torch.ops.aten.view.dtype}  # the bits as another dtype: no cast
# one of these is in torch's error if an operator takes no doubles
REFUSED = ("Double", "float64", "same dtype")


class Promoted(TorchDispatchMode):
    """Computes in float64. ``casts``: the number of changed casts. ``operators``: those that were
    computed in another way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.casts = 0
        self.operators: Counter[str] = Counter()
        self._defaults: list[torch.dtype] = []

    def __enter__(self) -> Promoted:
        self._defaults.append(torch.get_default_dtype())
        # for tensors made without a dtype, and for quotients of integers
        torch.set_default_dtype(torch.float64)
        super().__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        torch.set_default_dtype(self._defaults.pop())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not _shorter((*args, *kwargs.values())):
            return self._computed(func, args, kwargs)
        if func not in REINTERPRETED:
            args, kwargs = pytree.tree_map_only(torch.dtype, self._longer, (args, kwargs))
        args, kwargs, shorter = _alike(func, args, kwargs)
        return _written_back(self._computed(func, args, kwargs), shorter)

    def _computed(self, func: Any, args: Any, kwargs: Any) -> Any:
        piecewise = PIECEWISE.get(func.overloadpacket.__name__)
        if piecewise is not None and _has_doubles(args, kwargs):
            self.operators[_name(func)] += 1
            return piecewise(*args, **kwargs)
        try:
            return func(*args, **kwargs)
        # torch refuses a dtype by a RuntimeError, by its subclass NotImplementedError ("... not
        # implemented for 'Double'"), or by a TypeError
        except (RuntimeError, TypeError) as error:
            if not _has_doubles(args, kwargs) or not any(word in str(error) for word in REFUSED):
                raise
            decomposed = _decomposition(func)
            if decomposed is None:
                raise
            self.operators[_name(func)] += 1
            with self:
                return decomposed(*args, **kwargs)

    def facts(self) -> dict[str, Any]:
        """Return the changed casts and operators, for the record."""
        return {"casts": self.casts, "operators": dict(self.operators)}

    def _longer(self, dtype: torch.dtype) -> torch.dtype:
        if dtype in SHORT:
            self.casts += 1
            return torch.float64
        return dtype


def _shorter(values: Any) -> bool:
    """Return whether the arguments contain a shorter float: a dtype, a tensor, or one in a list."""
    return any(
        value.dtype in SHORT
        if isinstance(value, torch.Tensor)
        else value in SHORT
        if isinstance(value, torch.dtype)
        else isinstance(value, list | tuple) and _shorter(value)
        for value in values
    )


def _alike(
    func: Any, args: Any, kwargs: Any
) -> tuple[Any, Any, dict[int, tuple[torch.Tensor, torch.Tensor]]]:
    """Return the arguments with shorter floats beside doubles as doubles (e.g. constants that were
    made earlier, or by numpy).

    Return also, for each of them that the operator writes to, the double and the original.
    """
    shorter: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    if not _has_doubles(args, kwargs):
        return args, kwargs, shorter

    def doubled(value: Any, written: bool) -> Any:
        def made(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.dtype not in SHORT:
                return tensor
            double = tensor.double()
            if written:
                shorter[id(double)] = double, tensor
            return double

        return pytree.tree_map_only(torch.Tensor, made, value)

    written = {argument.name for argument in func._schema.arguments if _writes(argument)}
    by_place = [argument.name in written for argument in func._schema.arguments]
    args = tuple(doubled(value, by_place[place]) for place, value in enumerate(args))
    kwargs = {name: doubled(value, name in written) for name, value in kwargs.items()}
    return args, kwargs, shorter


def _writes(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _written_back(made: Any, shorter: dict[int, tuple[torch.Tensor, torch.Tensor]]) -> Any:
    """Return the result of an operator, after copying doubles that it wrote to back to their
    originals.
    """
    for double, tensor in shorter.values():
        tensor.copy_(double)
    return pytree.tree_map_only(torch.Tensor, lambda one: shorter.get(id(one), (one, one))[1], made)


def _has_doubles(args: Any, kwargs: Any) -> bool:
    return any(
        isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64
        for leaf in pytree.tree_leaves((args, kwargs))
    )


def _name(func: Any) -> str:
    return str(func.overloadpacket).replace("aten.", "")


def _decomposition(func: Any) -> Callable[..., Any] | None:
    """Return torch's own formula for an operator, in other operators, or None."""
    table = private.read("torch._decomp.decomposition_table") or {}
    formula: Callable[..., Any] | None = table.get(func)
    implicit = private.read("torch._C.DispatchKey.CompositeImplicitAutograd")
    if formula is None and implicit is not None and func.has_kernel_for_dispatch_key(implicit):
        formula = func.decompose
    return formula


def grouped_mm(
    one: torch.Tensor,
    other: torch.Tensor,
    offs: torch.Tensor | None = None,
    bias: Any = None,
    out_dtype: Any = None,
) -> torch.Tensor:
    """Compute ``torch.nn.functional.grouped_mm`` as one product for each group.

    There are G groups that end at ``offs`` (G,). The shapes are one of:

    - ``one`` (S, K), in groups of rows, by ``other`` (G, K, N);
    - ``one`` (G, M, K) by ``other`` (K, S), in groups of columns;
    - both in groups, (M, S) and (S, N): one sum for each group;
    - without ``offs``: a batch of products.
    """
    if offs is None:
        product = torch.bmm(one, other)
    else:
        ends = [0, *offs.tolist()]
        parts = [slice(begin, end) for begin, end in pairwise(ends)]
        if one.ndim == 2 and other.ndim == 3:
            product = one.new_zeros(one.shape[0], other.shape[-1])
            for group, part in enumerate(parts):
                product[part] = one[part] @ other[group]
        elif one.ndim == 3:
            product = one.new_zeros(one.shape[1], other.shape[-1])
            for group, part in enumerate(parts):
                product[:, part] = one[group] @ other[:, part]
        else:
            product = torch.stack([one[:, part] @ other[part] for part in parts])
    product = product if bias is None else product + bias
    return product if out_dtype is None else product.to(out_dtype)


PIECEWISE: dict[str, Callable[..., Any]] = {"_grouped_mm": grouped_mm}
