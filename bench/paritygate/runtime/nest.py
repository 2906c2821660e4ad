"""Nests: inputs and outputs of any kind as a list of leaves, and back.

A nest is made of tuples, lists, mappings (``ModelOutput`` is one), dataclasses, classes in torch's
pytree registry, and other objects that hold tensors in their attributes (``DynamicCache``,
distributions). None holds nothing.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

PLAIN = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    np.ndarray,
    np.generic,
    torch.dtype,
    torch.device,
    enum.Enum,
)

DENSE = "dense"  # the form of most tensors, see ``form_of``


class UnknownClassError(TypeError):
    """An output holds something that cannot be compared. The message names its class and says what
    to return.
    """


def flatten(nest: Any) -> list[Any]:
    """Return the leaves of a nest, in order: tensors, and everything else that is no nest."""
    return [leaf for _, leaf in _leaves(nest, "")]


def named_leaves(nest: Any) -> list[tuple[str, Any]]:
    """Return the leaves of a nest with the path of each: ``x``, ``0``,
    ``past_key_values.layers.0.keys``.
    """
    return [(path or "0", leaf) for path, leaf in _leaves(nest, "")]


def tensor_leaves(nest: Any) -> list[torch.Tensor]:
    """Return the tensors among the leaves of a nest, in order."""
    return [leaf for leaf in flatten(nest) if torch.is_tensor(leaf)]


def rebuild(nest: Any, leaves: Sequence[Any]) -> Any:
    """Return a copy of ``nest`` with its leaves replaced, in the order of ``flatten``."""
    given = iter(leaves)
    return _rebuilt(nest, lambda _: next(given))


def mapped(
    nest: Any, function: Callable[[torch.Tensor], torch.Tensor], floating: bool = False
) -> Any:
    """Return a copy of ``nest`` in which ``function`` replaces its tensors, or only the
    ``floating`` ones.
    """

    def made(leaf: Any) -> Any:
        wanted = torch.is_tensor(leaf) and (leaf.is_floating_point() or not floating)
        return function(leaf) if wanted else leaf

    return _rebuilt(nest, made)


def fresh(nest: Any) -> Any:
    """Return a copy whose tensors have memory of their own, with the same strides. Tensors that
    shared memory share the copy's memory.

    Leaves that are no tensors are copied deeply, inside objects as well: a model can write to a
    numpy array as easily, and can add layers to an empty cache.
    """
    memory: dict[int, Any] = {}
    seen: dict[int, Any] = {}

    def copied(leaf: Any) -> Any:
        if not torch.is_tensor(leaf):
            return _deep_copy(leaf, seen)
        if id(leaf) not in seen:
            seen[id(leaf)] = _copy(leaf, memory)
        return seen[id(leaf)]

    def also_copied(rest: Any, above: Mapping[int, Any]) -> Any:
        seen.update(above)
        return _deep_copy(rest, seen)

    # For tensors made in inference mode torch would compile again; other modes would change the
    # dtype.
    with torch.inference_mode(False), _disable_current_modes():
        return _rebuilt(nest, copied, also_copied)


def doubled(nest: Any) -> Any:
    """Return a copy whose floating tensors are in float64. Tensors that shared memory share the
    copy's memory, as in ``fresh``.
    """
    memory: dict[tuple[int, torch.dtype], torch.Tensor] = {}
    seen: dict[int, torch.Tensor] = {}

    def made(leaf: Any) -> Any:
        if not torch.is_tensor(leaf) or not leaf.is_floating_point():
            return leaf
        if id(leaf) not in seen:
            seen[id(leaf)] = _double(leaf, memory)
        return seen[id(leaf)]

    with _disable_current_modes():
        return _rebuilt(nest, made)


def comparable(nest: Any) -> list[torch.Tensor]:
    """Return the output tensors of a call, as dense copies on the CPU.

    Numbers become tensors without dimensions (floats in float64). Strings and the like become the
    bytes of their text. Raises ``UnknownClassError`` for anything else.
    """
    return [made for path, leaf in named_leaves(nest) for made in _compared(path, leaf)]


def value_of(leaf: Any) -> str:
    """Return a text that identifies a leaf that is no tensor: its value, or the class name of a
    foreign object.
    """
    if isinstance(leaf, np.ndarray):
        # The bytes of an array of objects are their addresses.
        elements = (
            "".join(map(value_of, leaf.flat)).encode() if leaf.dtype.hasobject else leaf.tobytes()
        )
        return f"{leaf.dtype} array {leaf.shape} {hashlib.sha256(elements).hexdigest()}"
    return (
        repr(leaf)
        if leaf is None or isinstance(leaf, PLAIN)
        else f"an object of {type(leaf).__qualname__}"
    )


def as_tensors(nest: Any) -> list[torch.Tensor]:
    """Return the same leaves as ``comparable``, but not copied and on their own device: an exporter
    takes them as outputs.
    """
    return [made for path, leaf in named_leaves(nest) for made in _tensors(path, leaf)]


def changed(before: Any, after: Any) -> list[str]:
    """Return the paths of the leaves in which two copies of one nest differ, or that one of them
    lacks.
    """
    ours, theirs = dict(named_leaves(before)), dict(named_leaves(after))
    return [
        path
        for path in ours | theirs
        if path not in ours or path not in theirs or not identical(ours[path], theirs[path])
    ]


def identical(one: Any, other: Any) -> bool:
    """Return whether two leaves hold the same numbers (NaN equals NaN), or the same value; see
    ``_same_value``.
    """
    if not torch.is_tensor(one):
        return _same_value(one, other)
    if not torch.is_tensor(other) or form_of(one) != form_of(other):
        return False
    if form_of(one) != DENSE:
        ours, theirs = _dense(one), _dense(other)
        return len(ours) == len(theirs) and all(map(identical, ours, theirs))
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if torch.equal(one, other):
        return True
    if not one.is_floating_point() and not one.is_complex():
        return False
    if one.element_size() == 1:  # torch cannot compare floats of eight bits
        one, other = one.float(), other.float()
    return bool(((one == other) | (one.isnan() & other.isnan())).all())


def _same_value(one: Any, other: Any) -> bool:
    """Return whether two leaves that are no tensors are the same. An object that does not equal its
    own copy counts as the same.
    """
    with suppress(Exception):  # a foreign class may raise anything
        return _equal(one, other) or not _equal(one, copy.deepcopy(one))
    return True


def _equal(one: Any, other: Any) -> bool:
    """Return whether two values are equal: numbers and arrays by elements (NaN equals NaN), tables
    by ``equals``, others by ``==``.
    """
    if hasattr(one, "equals"):
        return bool(one.equals(other))
    if not isinstance(one, float | complex | np.generic | np.ndarray):
        return bool(one == other)
    ours, theirs = np.asarray(one), np.asarray(other)
    return ours.dtype == theirs.dtype and np.array_equal(
        ours, theirs, equal_nan=ours.dtype.kind in "fc"
    )


def _leaves(
    nest: Any, path: str, above: tuple[int, ...] = (), within: bool = False
) -> Iterator[tuple[str, Any]]:
    """Yield path and leaf of each leaf. ``within``: inside an object of an unknown class, of which
    only the tensors count.
    """
    if nest is None or id(nest) in above:  # an object may hold an object that holds it
        return
    parts = _parts(nest)
    if parts is None:
        if torch.is_tensor(nest) or not within:
            yield path, nest
        return
    within = within or _unknown(nest)
    for name, part in parts:
        yield from _leaves(
            part, f"{path}.{name}" if path else str(name), (*above, id(nest)), within
        )


def _parts(nest: Any) -> list[tuple[Any, Any]] | None:
    """Return the parts of a nest, by name; None for a leaf."""
    if torch.is_tensor(nest) or isinstance(nest, PLAIN):
        return None
    if isinstance(nest, Mapping):
        return list(nest.items())
    if isinstance(nest, tuple | list):
        return list(enumerate(nest))
    if isinstance(nest, type | torch.nn.Module) or callable(nest):
        return None
    if dataclasses.is_dataclass(nest):
        return [(one.name, getattr(nest, one.name)) for one in dataclasses.fields(nest)]
    if type(nest) in pytree.SUPPORTED_NODES:
        return list(enumerate(_children(nest)[0]))
    tensors = [
        (name, value) for name, value in _attributes(nest) if _holds_tensors(value, (id(nest),))
    ]
    return tensors or None


def _unknown(nest: Any) -> bool:
    """Return whether a nest is an object of which only the attributes with tensors are known."""
    known = isinstance(nest, Mapping | tuple | list) or dataclasses.is_dataclass(nest)
    return not known and type(nest) not in pytree.SUPPORTED_NODES


def _children(nest: Any) -> tuple[list[Any], Any]:
    """Return the children of an object of a registered class, and the context that rebuilds it."""
    return pytree.tree_flatten(nest, is_leaf=lambda part: part is not nest)


def _attributes(nest: Any) -> list[tuple[str, Any]]:
    return list(getattr(nest, "__dict__", {}).items())


def _holds_tensors(value: Any, above: tuple[int, ...]) -> bool:
    return any(torch.is_tensor(leaf) for _, leaf in _leaves(value, "", above))


def _as_it_is(rest: Any, above: Mapping[int, Any]) -> Any:
    return above.get(id(rest), rest)


def _rebuilt(
    nest: Any,
    leaf: Callable[[Any], Any],
    rest: Callable[[Any, Mapping[int, Any]], Any] = _as_it_is,
    above: Mapping[int, Any] | None = None,
    within: bool = False,
) -> Any:
    """Return a nest with other leaves. ``rest`` makes the other attributes of an object. ``above``:
    the nests around this one.
    """
    above = above or {}
    if nest is None or id(nest) in above:
        return above.get(id(nest))
    parts = _parts(nest)
    if parts is None:
        return leaf(nest) if torch.is_tensor(nest) or not within else rest(nest, above)
    unknown = _unknown(nest)
    by_attributes = unknown or (
        dataclasses.is_dataclass(nest) and not isinstance(nest, Mapping | tuple | list)
    )
    other = copy.copy(nest) if by_attributes else nest
    above = {**above, id(nest): other}
    made = {name: _rebuilt(part, leaf, rest, above, within or unknown) for name, part in parts}
    if by_attributes:
        others = [
            (name, rest(part, above))
            for name, part in _attributes(nest)
            if unknown and name not in made
        ]
        for name, value in (*made.items(), *others):
            object.__setattr__(other, name, value)  # past a dataclass that is frozen
        return other
    if isinstance(nest, Mapping):
        return _same_mapping(nest, made)
    values = list(made.values())
    if isinstance(nest, tuple | list):
        # a named tuple's one by one
        return type(nest)(*values) if hasattr(nest, "_fields") else type(nest)(values)
    return pytree.tree_unflatten(values, _children(nest)[1])


def _same_mapping(nest: Mapping[Any, Any], made: dict[Any, Any]) -> Any:
    """Return a mapping of the same class: built from a dict, as a ``BatchEncoding`` can be, or a
    copy that is filled again.
    """
    if type(nest) is dict:
        return made
    kind: Any = type(nest)
    with suppress(Exception):  # a foreign class that takes no dict may raise anything
        return kind(made)
    # the first argument of a ``defaultdict`` is the factory of its values
    with suppress(Exception):
        other: Any = copy.copy(nest)
        other.update(made)
        return other
    return made  # a dict is good enough


def _deep_copy(value: Any, memo: dict[int, Any]) -> Any:
    """Return a deep copy. Modules, functions, and objects that cannot be copied are returned as
    they are.
    """
    if isinstance(value, type | torch.nn.Module) or callable(value):
        return value
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # a foreign class may raise anything
        return value


def _copy(leaf: torch.Tensor, memory: dict[int, Any]) -> torch.Tensor:
    if not _is_its_memory(leaf):
        return leaf.detach().clone().requires_grad_(leaf.requires_grad)
    storage = leaf.untyped_storage()
    if storage.data_ptr() not in memory:
        memory[storage.data_ptr()] = storage.clone()
    own = memory[storage.data_ptr()]
    made = torch.empty(0, dtype=leaf.dtype, device=leaf.device)
    made.set_(own, leaf.storage_offset(), leaf.size(), leaf.stride())
    return made.requires_grad_(leaf.requires_grad)


def _double(
    leaf: torch.Tensor, memory: dict[tuple[int, torch.dtype], torch.Tensor]
) -> torch.Tensor:
    if not _is_its_memory(leaf):
        return leaf.detach().double().requires_grad_(leaf.requires_grad)
    storage = leaf.untyped_storage()
    key = (storage.data_ptr(), leaf.dtype)
    if key not in memory:
        memory[key] = torch.empty(0, dtype=leaf.dtype, device=leaf.device).set_(storage).double()
    return (
        memory[key]
        .as_strided(leaf.size(), leaf.stride(), leaf.storage_offset())
        .requires_grad_(leaf.requires_grad)
    )


def _is_its_memory(leaf: torch.Tensor) -> bool:
    """Return whether sizes, strides and memory alone define the tensor."""
    return (
        type(leaf) is torch.Tensor
        and form_of(leaf) == DENSE
        and not leaf.is_conj()
        and not leaf.is_neg()
    )


def _compared(path: str, leaf: Any) -> list[torch.Tensor]:
    return [made.detach().to("cpu", copy=True) for made in _tensors(path, leaf)]


def _tensors(path: str, leaf: Any) -> list[torch.Tensor]:
    """Return the dense tensors by which a leaf is compared."""
    if torch.is_tensor(leaf):
        return _dense(leaf)
    if isinstance(leaf, bool | np.bool_):
        return [torch.tensor(bool(leaf))]
    if isinstance(leaf, int | np.integer):
        if not -(1 << 63) <= leaf < 1 << 63:
            raise UnknownClassError(_cannot_be_compared("an int beyond 64 bits", path))
        return [torch.tensor(int(leaf))]
    if isinstance(leaf, float | np.floating):
        return [torch.tensor(float(leaf), dtype=torch.float64)]
    if isinstance(leaf, complex | np.complexfloating):
        return [torch.tensor(complex(leaf), dtype=torch.complex128)]
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc":
        return [torch.from_numpy(np.ascontiguousarray(leaf, leaf.dtype.newbyteorder("=")))]
    if isinstance(leaf, np.ndarray):
        raise UnknownClassError(_cannot_be_compared(f"an array of {leaf.dtype}", path))
    if isinstance(leaf, PLAIN):
        text = leaf if isinstance(leaf, bytes) else str(leaf).encode()
        return [torch.tensor(list(text), dtype=torch.uint8)]
    raise UnknownClassError(
        _cannot_be_compared(f"a {type(leaf).__module__}.{type(leaf).__qualname__}", path)
    )


def _cannot_be_compared(what: str, path: str) -> str:
    return (
        f"the output holds {what} at {path!r}, which cannot be compared: return "
        "tensors, numbers, strings, or tuples, lists, dicts and dataclasses of these; a class of your own can be "
        "registered with torch.utils._pytree.register_pytree_node"
    )


def form_of(tensor: torch.Tensor) -> str:
    """Return the form in which a tensor holds its numbers: dense, nested, quantized, or sparse."""
    if tensor.is_nested:
        return "nested"
    return (
        "quantized"
        if tensor.is_quantized
        else DENSE
        if tensor.layout is torch.strided
        else "sparse"
    )


def _dense(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Return a tensor as strided ones. A nested one becomes its values and the sizes of its
    parts.
    """
    form = form_of(tensor)
    if form == "nested":
        each = tensor.unbind()
        sizes = torch.tensor([list(part.shape) for part in each], dtype=torch.int64)
        # where there are no parts
        nothing = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return [torch.cat([nothing, *(part.reshape(-1) for part in each)]), sizes]
    return [
        tensor
        if form == DENSE
        else tensor.dequantize()
        if form == "quantized"
        else tensor.to_dense()
    ]
