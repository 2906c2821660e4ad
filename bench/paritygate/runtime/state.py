"""State: the data that a model keeps from one call to the next, and other changes that a call
makes.

The state is buffers, and tensors and plain values in attributes of the model and its parts.
Parameters are compared by version only, since a copy of them needs as much memory as the model. A
model whose answers depend on its state is called from its initial state.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from paritygate.runtime.nest import flatten, fresh, identical

# attributes in which torch keeps parameters, buffers and parts; handled separately
HOOKS = (
    "_parameters",
    "_buffers",
    "_modules",
)
Where = tuple[str, str]  # a part of the model, and a name in it
MOST = 10_000  # an attribute with more leaves is not state


class State:
    """A model's state at the time of creation. ``only``: restrict it to these names, as returned by
    ``changed``.
    """

    def __init__(self, module: torch.nn.Module, only: tuple[str, ...] = ()) -> None:
        self._module, self._only = module, frozenset(only)
        self._parts = dict(module.named_modules())
        copies: dict[int, Any] = {}  # an object that two parts share stays shared

        def copied(value: Any) -> Any:
            if id(value) not in copies:
                copies[id(value)] = fresh(value)
            return copies[id(value)]

        self._buffers = {
            where: (value, fresh(value))
            for where, value in self._buffers_now()
            if not is_lazy(value)
        }
        self._parameters = {
            name: (value, _version(value)) for name, value in module.named_parameters()
        }
        self._attributes = {
            where: (value, copied(value)) for where, value in self._attributes_now()
        }
        self._there = {
            prefix: {*part._buffers.keys(), *vars(part)} for prefix, part in self._parts.items()
        }

    def changed(self, parameters: bool = True) -> list[str]:
        """Return what has changed since: "buffer past", "attribute calls", and, with
        ``parameters``, "parameter weight".
        """
        buffers = dict(self._buffers_now())
        names = [
            _named("buffer", where)
            for where, (_, kept) in self._buffers.items()
            if where not in buffers or not _alike(kept, buffers[where])
        ]
        for name, parameter in self._module.named_parameters() if parameters else ():
            was, version = self._parameters.get(name, (None, None))
            if was is not parameter or _version(parameter) != version:
                names.append(f"parameter {name}")
        for where, (_, kept) in self._attributes.items():
            if not _alike(kept, self._attribute(where)):
                names.append(_named("attribute", where))
        return names + [_named(kind, where) for kind, where in self._added()]

    def restore(self) -> None:
        """Restore buffers and attributes, in their own memory where they still have it. Remove
        those that were added.
        """
        for prefix, name in (where for _, where in self._added()):
            delattr(self._parts[prefix], name)
        for (prefix, name), (value, kept) in self._buffers.items():
            self._parts[prefix]._buffers[name] = value
            if value is not None:
                with torch.no_grad(), torch.inference_mode(False):
                    value.copy_(kept)
        again: dict[int, Any] = {}
        for where, (value, kept) in self._attributes.items():
            if not _alike(kept, self._attribute(where)):
                if not _alike(kept, value) and id(kept) not in again:
                    again[id(kept)] = fresh(kept)
                prefix, name = where
                self._parts[prefix].__dict__[name] = again.get(id(kept), value)

    def _wanted(self, kind: str, where: Where) -> bool:
        return not self._only or _named(kind, where) in self._only

    def _buffers_now(self) -> list[tuple[Where, Any]]:
        return [
            ((prefix, name), value)
            for prefix, part in self._parts.items()
            for name, value in part._buffers.items()
            if self._wanted("buffer", (prefix, name))
        ]

    def _attributes_now(self) -> list[tuple[Where, Any]]:
        """Return the attributes that can be state: plain values, objects, and nests of these and of
        tensors.
        """
        return [
            ((prefix, name), value)
            for prefix, part in self._parts.items()
            if not isinstance(part, torch.jit.ScriptModule)  # whose attributes are not Python's
            for name, value in vars(part).items()
            if name not in HOOKS and name != "training" and not name.endswith("_hooks")
            if self._wanted("attribute", (prefix, name)) and _plain(value)
        ]

    def _attribute(self, where: Where) -> Any:
        """Return an attribute's value now. A deleted one compares unequal to everything."""
        return vars(self._parts[where[0]]).get(where[1], _Gone())

    def _added(self) -> list[tuple[str, Where]]:
        """Return the buffers and attributes that were added since."""
        now = [("buffer", where) for where, _ in self._buffers_now()]
        now += [("attribute", where) for where, _ in self._attributes_now()]
        return [(kind, where) for kind, where in now if where[1] not in self._there[where[0]]]


class _Gone:
    """Stands for a value that no longer exists."""


class Draws:
    """Detects whether random numbers were drawn since its creation, and from which generator."""

    def __init__(self) -> None:
        self._torch, self._numpy, self._python = (
            torch.get_rng_state(),
            tuple(np.random.get_state()),
            random.getstate(),
        )

    def moved(self) -> str:
        """Return the generator whose state has changed, or ""."""
        if not torch.equal(self._torch, torch.get_rng_state()):
            return "torch's"
        now = tuple(np.random.get_state())
        if not all(np.array_equal(one, other) for one, other in zip(self._numpy, now, strict=True)):
            return "numpy's"
        return "random's" if self._python != random.getstate() else ""


def _plain(value: Any) -> bool:
    try:
        leaves = flatten(value)
        if len(leaves) > MOST or any(isinstance(leaf, torch.nn.Parameter) for leaf in leaves):
            return False
        return any(torch.is_tensor(leaf) for leaf in leaves) or not any(map(_code, leaves))
    except Exception:  # a foreign object's own attributes
        return False


def _code(leaf: Any) -> bool:
    return isinstance(leaf, torch.nn.Module | type) or callable(leaf)


def _alike(kept: Any, value: Any) -> bool:
    one, other = flatten(kept), flatten(value)
    return len(one) == len(other) and all(
        type(a) is type(b) and identical(a, b) for a, b in zip(one, other, strict=True)
    )


def _version(value: torch.Tensor) -> int:
    return -1 if is_lazy(value) or value.is_inference() else value._version


def _named(kind: str, where: Where) -> str:
    return f"{kind} {'.'.join(filter(None, where))}"
