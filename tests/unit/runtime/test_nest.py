"""Nests of any kind: taken apart, put together, copied with memory of their own, compared."""

from __future__ import annotations

import copy
import dataclasses
import enum
import re
from collections import OrderedDict, UserDict, defaultdict, deque, namedtuple
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils import _pytree as pytree
from transformers import BatchEncoding, DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from paritygate.runtime.nest import (
    UnknownClassError,
    as_tensors,
    changed,
    comparable,
    doubled,
    flatten,
    fresh,
    identical,
    named_leaves,
    rebuild,
    tensor_leaves,
    value_of,
)
from paritygate.runtime.promoted import Promoted

pytestmark = pytest.mark.filterwarnings(
    "ignore:Sparse CSR", "ignore:.*nested tensors is in", "ignore:.*quantize"
)
NAN, INF = float("nan"), float("inf")
Pair = namedtuple("Pair", "left right")


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: torch.Tensor
    factor: int = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: torch.Tensor
    factor: int = 3


class Registered:
    """Of a class that torch's registry knows; it has no ``__dict__`` to look into."""

    __slots__ = ("name", "x", "y")

    def __init__(self, x, y, name):
        self.x, self.y, self.name = x, y, name


pytree.register_pytree_node(
    Registered,
    lambda one: ([one.x, one.y], one.name),
    lambda children, name: Registered(children[0], children[1], name),
)


class Holder:
    """Of a class that nobody knows, with tensors in its attributes; it holds itself."""

    def __init__(self, x):
        self.x, self.words, self.me = x, ["a"], self


class Empty:
    """Holds nothing that can be compared."""


def cache(layers=2, length=4):
    made = DynamicCache()
    for layer in range(layers):
        made.update(
            torch.full((1, 2, length, 3), layer), torch.full((1, 2, length, 3), layer + 0.5), layer
        )
    return made


def numbers(*shape):
    return torch.arange(float(np.prod(shape, dtype=int))).reshape(shape)


def shown(nest):
    return [
        (path, tuple(leaf.shape) if torch.is_tensor(leaf) else leaf)
        for path, leaf in named_leaves(nest)
    ]


# -- taken apart


def test_nests_are_flattened_and_rebuilt():
    nest = {"a": (1, [2, None]), "b": OrderedDict(c=3), "d": None, "e": 4}
    assert flatten(nest) == [1, 2, 3, 4]
    assert rebuild(nest, [5, 6, 7, 8]) == {"a": (5, [6, None]), "b": {"c": 7}, "d": None, "e": 8}


def test_leaves_are_named_by_their_path():
    nest = {"x": numbers(2), "deep": (Pair(numbers(3), 7), [None, "word"])}
    assert shown(nest) == [("x", (2,)), ("deep.0.0", (3,)), ("deep.0.1", 7), ("deep.1.1", "word")]
    assert shown(numbers(2)) == [("0", (2,))]
    assert (shown(None), flatten((None, [])), tensor_leaves({"n": 3})) == ([], [], [])


def test_caches_and_model_outputs_are_nests_of_their_tensors():
    output = CausalLMOutputWithPast(logits=numbers(1, 5), past_key_values=cache(1))
    assert [path for path, _ in named_leaves(output)] == [
        "logits",
        "past_key_values.layers.0.keys",
        "past_key_values.layers.0.values",
    ]
    both = EncoderDecoderCache(cache(1, 4), cache(1, 6))
    assert [leaf.shape[2] for leaf in flatten(both)] == [4, 4, 6, 6]


def test_packed_sequences_distributions_and_registered_classes_are_nests():
    packed = torch.nn.utils.rnn.pack_sequence([numbers(3, 2), numbers(2, 2)])
    assert [tuple(leaf.shape) for leaf in flatten(packed)] == [(5, 2), (3,)]
    assert shown(torch.distributions.Normal(numbers(2), numbers(2) + 1)) == [
        ("loc", (2,)),
        ("scale", (2,)),
    ]
    assert shown(Registered(numbers(2), numbers(3), "n")) == [("0", (2,)), ("1", (3,))]
    assert shown(torch.max(numbers(2, 3), 0)) == [("0", (3,)), ("1", (3,))]
    assert len(flatten(deque([numbers(1), 2]))) == 2


def test_of_an_object_that_nobody_knows_the_tensors_alone_are_leaves():
    assert shown(Holder({"deep": numbers(2), "word": "b"})) == [("x.deep", (2,))]


def test_what_holds_itself_comes_to_an_end():
    cyclic = [numbers(1)]
    cyclic.append(cyclic)
    assert shown(cyclic) == [("0", (1,))]
    assert shown(Holder(numbers(2))) == [("x", (2,))]
    assert fresh(Holder(numbers(2))).x.tolist() == [0, 1]


# -- put together


@pytest.mark.parametrize(
    "nest",
    [
        Pair(numbers(2), (numbers(3),)),
        Frozen(numbers(2)),
        Slotted(numbers(2)),
        OrderedDict(a=numbers(2)),
        UserDict(a=numbers(2)),
        BatchEncoding({"input_ids": numbers(2)}),
        Registered(numbers(2), numbers(2), "n"),
        cache(),
        EncoderDecoderCache(cache(), cache()),
        CausalLMOutputWithPast(logits=numbers(2), past_key_values=cache()),
        torch.nn.utils.rnn.pack_sequence([numbers(3, 2), numbers(2, 2)]),
        torch.max(numbers(2, 3), 0),
        deque([numbers(2)]),
        torch.distributions.Normal(numbers(2), numbers(2) + 1),
        torch.Size([2, 3]),
        Holder([numbers(2)]),
        defaultdict(list, a=numbers(2)),
    ],
    ids=lambda nest: type(nest).__name__,
)
def test_a_nest_is_rebuilt_as_one_of_its_class_and_copied_with_other_tensors(nest):
    doubled = rebuild(nest, [2 * leaf for leaf in flatten(nest)])
    assert type(doubled) is type(nest)
    assert all(
        torch.equal(torch.as_tensor(two), 2 * torch.as_tensor(one))
        for one, two in zip(flatten(nest), flatten(doubled), strict=True)
    )

    copy = fresh(nest)
    assert type(copy) is type(nest)
    for one, two in zip(flatten(nest), flatten(copy), strict=True):
        assert identical(one, two)
        assert not torch.is_tensor(one) or one.data_ptr() != two.data_ptr()


def test_what_is_no_tensor_stays_in_what_is_rebuilt():
    assert rebuild(Frozen(numbers(2), factor=5), [numbers(3), 5]).factor == 5
    assert rebuild(Registered(numbers(1), numbers(1), "name"), [numbers(2)] * 2).name == "name"
    assert fresh({"images": "one.png", "n": None}) == {"images": "one.png", "n": None}
    assert fresh(defaultdict(list, a=numbers(2)))["b"] == []


# -- copies with memory of their own


TENSORS = {
    "transposed": lambda: numbers(2, 3).t(),
    "expanded": lambda: numbers(3)[None].expand(4, 3),
    "with_gaps": lambda: numbers(4, 6)[1::2, ::3],
    "with_an_offset": lambda: numbers(5)[2:],
    "channels_last": lambda: numbers(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "empty": lambda: torch.empty(0),
    "of_no_rows": lambda: torch.empty(0, 3),
    "a_number": lambda: torch.tensor(3.0),
    "uint16": lambda: torch.tensor([1, 2], dtype=torch.uint16),
    "bf16": lambda: numbers(3).bfloat16(),
    "fp8": lambda: torch.ones(3).to(torch.float8_e4m3fn),
    "bool": lambda: torch.tensor([True, False]),
    "sparse": lambda: numbers(2, 3).to_sparse(),
    "sparse_rows": lambda: numbers(2, 3).to_sparse_csr(),
    "quantized": lambda: torch.quantize_per_tensor(numbers(3), 0.5, 0, torch.qint8),
    "conjugate": lambda: torch.tensor([1 + 2j]).conj(),
    "conjugate_transposed": lambda: torch.tensor([[1 + 2j, 3j]]).mH,
    "negative": lambda: torch.tensor([1 + 2j]).conj().imag,
}


@pytest.mark.parametrize("made", TENSORS)
def test_a_copy_has_the_same_values_strides_and_dtype(made):
    tensor = TENSORS[made]()
    copy = fresh(tensor)
    assert (copy.dtype, copy.layout, copy.shape) == (tensor.dtype, tensor.layout, tensor.shape)
    if tensor.layout is torch.strided:
        assert copy.stride() == tensor.stride()
    for one, two in zip(comparable(tensor), comparable(copy), strict=True):
        assert one.dtype == two.dtype
        assert identical(one, two)


def test_two_views_of_one_memory_stay_so_in_the_copy():
    base = numbers(10)
    left, right = fresh((base[:5], base[3:]))
    left[3] = 99
    assert (right[0], base[3]) == (99, 3)

    floats, bits = fresh((base, base.view(torch.int32)))
    floats.fill_(7)
    assert bits.view(torch.float32).tolist() == [7] * 10


def test_what_shares_memory_shares_it_in_float64():
    base = numbers(10)
    left, right, again, whole, ids = doubled((base[:5], base[3:], base, base, torch.arange(3)))
    assert {one.dtype for one in (left, right, again)} == {torch.float64}
    assert again is whole
    assert ids.dtype == torch.int64
    left[3] = 99
    assert (right[0], again[3], base[3]) == (99, 99, 3)

    column = doubled(numbers(6).reshape(2, 3)[:, 1])
    assert (column.tolist(), column.stride()) == ([1, 4], (3,))
    asking = doubled(torch.ones(2, requires_grad=True))
    assert asking.requires_grad
    assert asking.is_leaf


def test_an_expanded_copy_is_written_to_as_one():
    copy = fresh(numbers(3)[None].expand(4, 3))
    copy[0, 0] = 5
    assert copy[:, 0].tolist() == [5] * 4


def test_a_tensor_that_comes_twice_is_one_in_the_copy():
    x, array = numbers(2), np.arange(3)
    first, second, one, other = fresh((x, {"again": x}["again"], array, array))
    assert first is second
    assert one is other


def test_arrays_of_numpy_are_copied_as_well():
    array = np.arange(6.0).reshape(2, 3)
    copy = fresh({"image": array})["image"]
    copy += 1
    assert (array[0, 0], copy[0, 0]) == (0, 1)


def test_a_copy_asks_for_gradients_where_the_tensor_does():
    leaf = torch.ones(2, requires_grad=True)
    assert fresh(leaf).requires_grad
    assert fresh(leaf).is_leaf
    assert fresh(leaf * 2).is_leaf
    assert not fresh(torch.ones(2)).requires_grad


def test_a_copy_is_no_inference_tensor():
    """Of which compiled code would be made anew."""
    with torch.inference_mode():
        x = torch.ones(3)
        assert not any(leaf.is_inference() for leaf in fresh((x, x[1:])))


def test_a_copy_made_where_float64_is_computed_is_of_the_same_dtype():
    nest = (numbers(8), numbers(8)[3:5].bfloat16())
    with Promoted():
        copy, part = fresh(nest)
    assert (copy.dtype, part.dtype) == (torch.float32, torch.bfloat16)
    assert copy.tolist() == list(range(8))
    assert part.tolist() == [3, 4]


def test_nested_tensors_are_copied():
    for layout in (torch.strided, torch.jagged):
        nested = torch.nested.nested_tensor([numbers(2, 3), numbers(1, 3)], layout=layout)
        copy = fresh(nested)
        assert copy.is_nested
        assert [
            torch.equal(*pair) for pair in zip(copy.unbind(), nested.unbind(), strict=True)
        ] == [True, True]


def test_what_a_call_may_write_to_in_a_cache_is_its_copys_own():
    """An empty cache gets layers; one for an encoder remembers which it has filled."""
    empty = DynamicCache()
    fresh(empty).update(numbers(1, 2, 3, 4), numbers(1, 2, 3, 4), 0)
    assert empty.get_seq_length() == 0

    both = EncoderDecoderCache(cache(), DynamicCache())
    copy = fresh(both)
    copy.is_updated[0] = True
    copy.cross_attention_cache.update(numbers(1, 2, 3, 4), numbers(1, 2, 3, 4), 0)
    assert both.is_updated.get(0) is not True
    assert both.cross_attention_cache.get_seq_length() == 0


def test_a_list_beside_tensors_in_an_object_is_its_copys_own():
    one = Holder(numbers(2))
    fresh(one).words.append("b")
    assert one.words == ["a"]


def test_a_module_a_function_or_what_refuses_to_be_copied_stays_the_same():
    module, refusing = torch.nn.Linear(2, 2), RefusesCopies()
    made = fresh({"module": module, "function": len, "class": Empty, "refusing": refusing})
    assert made == {"module": module, "function": len, "class": Empty, "refusing": refusing}


class RefusesCopies:
    def __deepcopy__(self, memo):
        raise TypeError("there is one of me")


# -- compared


class Color(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("leaf", "dtype", "values"),
    [
        (1, torch.int64, 1),
        (True, torch.bool, True),
        (2.5, torch.float64, 2.5),
        (3j, torch.complex128, 3j),
        (np.float32(1.5), torch.float64, 1.5),
        (np.int8(3), torch.int64, 3),
        (np.bool_(True), torch.bool, True),
        ("ab", torch.uint8, [97, 98]),
        (b"x", torch.uint8, [120]),
        (Color.RED, torch.uint8, list(b"Color.RED")),
        (torch.float32, torch.uint8, list(b"torch.float32")),
        (torch.device("cpu"), torch.uint8, list(b"cpu")),
        (np.arange(3)[::-1], torch.int64, [2, 1, 0]),
        (np.arange(2, dtype=np.float16), torch.float16, [0, 1]),
        ("", torch.uint8, []),
    ],
    ids=repr,
)
def test_plain_values_are_compared_as_tensors(leaf, dtype, values):
    (made,) = comparable({"leaf": leaf})
    assert (made.dtype, made.tolist()) == (dtype, values)


def test_tensors_are_compared_dense_and_copied():
    buffer = numbers(2)
    (kept,) = comparable((buffer, None))
    buffer += 1
    assert kept.tolist() == [0, 1]
    assert as_tensors(buffer)[0] is buffer, "an exporter needs the tensor itself"
    for sparse in (numbers(2, 3).to_sparse(), numbers(2, 3).to_sparse_csr()):
        assert torch.equal(comparable(sparse)[0], numbers(2, 3))
    (dequantized,) = comparable(torch.quantize_per_tensor(numbers(3), 0.5, 0, torch.qint8))
    assert dequantized.tolist() == [0, 1, 2]


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_tensors_are_compared_by_values_and_sizes(layout):
    values, sizes = comparable(
        torch.nested.nested_tensor([numbers(2, 3), numbers(1, 3)], layout=layout)
    )
    assert values.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert sizes.tolist() == [[2, 3], [1, 3]]


@pytest.mark.parametrize(
    ("nest", "kind", "path"),
    [
        ({"a": [1, Empty()]}, f"{__name__}.Empty", "a.1"),
        (Empty(), f"{__name__}.Empty", "0"),
        ((numbers(1), {3, 4}), "builtins.set", "1"),
        ({"deep": {"net": torch.nn.Identity()}}, "torch.nn.modules.linear.Identity", "deep.net"),
        ((range(3),), "builtins.range", "0"),
        (DynamicCache(), "transformers.cache_utils.DynamicCache", "0"),
    ],
)
def test_a_class_that_cannot_be_compared_is_named_with_its_path_and_what_to_return(
    nest, kind, path
):
    with pytest.raises(
        UnknownClassError, match=re.escape(f"the output holds a {kind} at {path!r}, which cannot")
    ) as told:
        comparable(nest)
    assert (
        "return tensors, numbers, strings, or tuples, lists, dicts and dataclasses of these"
        in str(told.value)
    )


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (np.array(["a", "b"]), "an array of <U1"),
        (np.array([None]), "an array of object"),
        (1 << 70, "an int beyond"),
    ],
    ids=["strings", "objects", "huge"],
)
def test_arrays_and_numbers_that_no_tensor_holds_are_told_with_their_path(value, what):
    with pytest.raises(UnknownClassError, match=f"the output holds {what}.* at 'a.0'"):
        comparable({"a": (value,)})


# -- told apart


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([1.0, NAN], [1.0, NAN], True),
        ([NAN], [0.0], False),
        ([0.0], [NAN], False),
        ([INF], [INF], True),
        ([INF], [torch.finfo(torch.float32).max], False),
        ([INF], [-INF], False),
        ([1.0], [1.0, 1.0], False),
        ([complex(NAN, 1)], [complex(NAN, 1)], True),
        ([1j], [0j], False),
        ([1], [1], True),
        ([1], [2], False),
        ([1], [1.0], False),
        ([True], [False], False),
    ],
)
def test_leaves_are_identical_when_all_their_numbers_are(one, other, same):
    assert identical(torch.tensor(one), torch.tensor(other)) is same


def test_short_and_quantized_numbers_are_told_apart_as_well():
    eights = [torch.full((3,), value).to(torch.float8_e4m3fn) for value in (1.0, 2.0, NAN, NAN)]
    assert not identical(eights[0], eights[1])
    assert identical(eights[2], eights[3])
    quantized = [
        torch.quantize_per_tensor(torch.full((2,), x), 0.1, 0, torch.qint8) for x in (1.0, 2.0, 1.0)
    ]
    assert not identical(quantized[0], quantized[1])
    assert identical(quantized[0], quantized[2])


def test_arrays_and_numbers_are_told_apart_by_their_elements():
    assert identical(np.array([NAN]), np.array([NAN]))
    assert not identical(np.arange(3), np.arange(1, 4))
    assert not identical(np.zeros((2, 1)), np.zeros((1, 2)))
    for one in (NAN, complex(NAN, 1), np.float32(NAN)):
        assert identical(one, copy.deepcopy(one))
        assert not identical(one, type(one)(1))


class ByIdentity:
    """Equal only to what holds the same object: a copy is another one."""

    def __init__(self, value):
        self.value = [value]

    def __eq__(self, other):
        return self.value is other.value

    def __hash__(self):
        return 0


def image(value):
    from PIL import Image

    return Image.new("RGB", (2, 2), (value, 0, 0))


@pytest.mark.parametrize(
    "make",
    [
        image,
        lambda value: bytearray([value]),
        lambda value: pd.DataFrame({"a": [value], "b": ["word"], "c": [NAN]}),
        lambda value: np.array([value, "word"], dtype=object),
        lambda value: {value},
        Fraction,
        float,
        str,
    ],
)
def test_values_and_what_has_elements_are_told_apart(make):
    assert identical(make(1), make(1))
    assert not identical(make(1), make(2))
    assert changed([make(1)], fresh([make(1)])) == []


def test_what_no_copy_can_equal_counts_as_the_same():
    for one in (ByIdentity(1), NAN, object(), pd.Series([NAN]), pd.DataFrame({"a": [None]})):
        assert identical(one, copy.deepcopy(one))


def test_what_changed_is_named_by_its_path():
    before = {"x": numbers(3), "deep": (numbers(2), np.arange(2), "word"), "y": numbers(1)}
    after = fresh(before)
    after["x"].clamp_(max=1)
    after["deep"][1][0] = 7
    assert changed(before, after) == ["x", "deep.1"]
    assert changed(before, fresh(before)) == []


def test_nan_that_is_filled_counts_as_a_change():
    before = (torch.tensor([1.0, NAN]),)
    after = fresh(before)
    after[0].nan_to_num_()
    assert changed(before, after) == ["0"]


def test_what_grew_or_shrank_is_named_too():
    before = {"past": cache(1), "log": [numbers(1)]}
    after = fresh(before)
    after["past"].update(numbers(1, 2, 4, 3), numbers(1, 2, 4, 3), 1)
    after["log"].clear()
    assert changed(before, after) == ["log.0", "past.layers.1.keys", "past.layers.1.values"]
    filled = {"past": DynamicCache()}
    after = fresh(filled)
    after["past"].update(numbers(1, 2, 4, 3), numbers(1, 2, 4, 3), 0)
    assert "past.layers.0.keys" in changed(filled, after)


# -- told from one another


class Foreign:
    pass


def test_values_are_told_by_all_of_them_and_objects_by_their_class():
    long = np.arange(10_000.0)
    other = long.copy()
    other[5_000] += 1
    assert repr(long) == repr(other), "numpy shortens what it shows"
    assert value_of(long) != value_of(other)
    assert value_of(long) == value_of(long.copy())
    assert value_of(long) != value_of(long.astype(np.float32))
    words, same = (
        np.array([f"{word} more" for word in ("one", "two")], dtype=object) for _ in range(2)
    )
    assert words[0] is not same[0]
    assert value_of(words) == value_of(same) != value_of(words[::-1])
    assert value_of(Foreign()) == value_of(Foreign()) != value_of(object())
    assert value_of("plain") != value_of("other")
    assert value_of(None) != value_of("None")


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.to_sparse(),
        lambda x: x.to_sparse_csr(),
        lambda x: torch.quantize_per_tensor(x, 0.5, 0, torch.qint8),
        lambda x: torch.nested.nested_tensor([x, x[:1]]),
        lambda x: torch.nested.nested_tensor([x, x[:1]], layout=torch.jagged),
    ],
    ids=["coo", "csr", "quantized", "nested", "jagged"],
)
def test_a_change_in_a_tensor_of_any_form_is_seen(make):
    one = numbers(2, 3) + 1
    other = one.clone()
    other[0, 2] += 1
    assert identical(make(one), make(one.clone()))
    assert not identical(make(one), make(other))
    assert not identical(make(one), one)
    assert changed({"x": make(one)}, {"x": make(other)}) == ["x"]


def test_a_nested_tensor_without_parts_has_nothing_to_compare():
    values, sizes = comparable(torch.nested.nested_tensor([]))
    assert (values.numel(), sizes.numel()) == (0, 0)
