"""A device that is not the processor, on a machine that has no other: what lies there keeps apart
from what lies here.

``torch.device("elsewhere")`` is torch's PrivateUse1 with kernels in Python: each runs the
processor's own on what its tensors hold. As on a GPU an operator refuses tensors of both places,
copies, numbers and indices excepted, and numpy sees none of them. Workers reach it by the code of a
GPU, over a stand-in for ``torch.cuda``.

To import this changes the process for good, so only a fork server does.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from paritygate.runtime.devices import DEVICES
from paritygate.runtime.devices.cuda import Cuda
from tests.support.fakes import FakeTorchCuda

NAME = "elsewhere"
aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default}
INDEXED = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}


class Elsewhere(torch.Tensor):
    """A tensor of that device; ``here`` holds its numbers."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> Elsewhere:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            here.stride(),
            here.storage_offset(),
            dtype=here.dtype,
            device=torch.device(NAME, 0),
        )
        made.here = here
        return made

    @property
    def data(self) -> torch.Tensor:
        """As of any tensor; torch's own setter would leave the old numbers in ``here``."""
        return torch._C.TensorBase.data.__get__(self)

    @data.setter
    def data(self, other: Elsewhere) -> None:
        torch._C.TensorBase.data.__set__(self, other)
        self.here = other.here

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return Elsewhere, (self.here,)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, *args, **(kwargs or {}))


def run(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operator on what its tensors hold. Raises ``RuntimeError`` where they are in two
    places.
    """
    leaves = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    together = leaves[:1] if func in INDEXED else [] if func in MOVES else leaves
    places = {str(leaf.device) for leaf in together if leaf.ndim or isinstance(leaf, Elsewhere)}
    if len(places) > 1:
        raise RuntimeError(
            f"{func}: Expected all tensors to be on the same device, but found {sorted(places)}"
        )
    asked = kwargs.get("device")
    away = (
        any(isinstance(leaf, Elsewhere) for leaf in leaves)
        if asked is None
        else torch.device(asked).type == NAME
    )
    if asked is not None:
        kwargs["device"] = "cpu"
    ours, named = pytree.tree_map_only(Elsewhere, lambda leaf: leaf.here, (args, kwargs))
    given = func(*ours, **named)
    if not away:
        return given
    with torch.inference_mode(False):  # torch refuses views of a subclass that was made in it
        return return_and_correct_aliasing(
            func, args, kwargs, pytree.tree_map_only(torch.Tensor, Elsewhere, given)
        )


def copied(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """``_copy_from``, to which ``torch.tensor(..., device=...)`` comes below all subclasses."""
    given, taken = (
        tensor.here if isinstance(tensor, Elsewhere) else tensor for tensor in (source, target)
    )
    taken.copy_(given)
    return target


class Api(FakeTorchCuda):
    """``torch.cuda`` of that device, whose work is done when the call returns."""

    def Event(self, enable_timing: bool) -> Moment:  # noqa: N802 (torch's name)
        return Moment()


class Moment:
    """An event."""

    def record(self, _stream: Any) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, end: Moment) -> float:
        return (end.at - self.at) * 1e3


class There(Cuda):
    """That device as workers see it."""

    name = _buffers = NAME

    def __init__(self) -> None:
        super().__init__(Api())


DEVICES[NAME] = There
# its tensors cannot take the place of others' data
torch.__future__.set_swap_module_params_on_conversion(True)
torch.serialization.add_safe_globals([Elsewhere])
_setup_privateuseone_for_python_backend(NAME)
_every = torch.library.Library("_", "IMPL")
_every.fallback(run, "PrivateUse1")
_copies = torch.library.Library("aten", "IMPL")
_copies.impl("_copy_from", copied, "PrivateUse1")
