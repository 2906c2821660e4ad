"""Which elements of an output are compared where a case declares padding."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from paritygate.core.case import Case
from paritygate.runtime.declared import WrongDeclarationError
from paritygate.runtime.subject import BoundCase
from paritygate.worker.masks import masks, padding
from tests.support.rig import task_of

B, S = 3, 5
KEPT = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]])  # (B, S)


def subject(tmp_path, **declared):
    case = Case(
        "c",
        model="tests.support.specimens:Net",
        inputs="tests.support.specimens:rows",
        shapes={"b": {"batch": B}},
        **declared,
    )
    return BoundCase.from_task(task_of(case, tmp_path, backend=""))


@pytest.fixture
def kept(tmp_path):
    """The shapes of the masks of some outputs; an axis that is named "tokens" is as long as the
    inputs.
    """

    def of(*shapes, mask=KEPT, asked=None, name="mask"):
        sets = [{"ids": torch.zeros(B, S, dtype=torch.long), "mask": mask} for _ in range(2)]

        def answer(inputs):
            if asked is not None:
                asked.append(inputs)
            length = inputs["ids"].shape[1]
            return [
                torch.zeros([length if size == "tokens" else size for size in shape])
                for shape in shapes
            ]

        found = masks(subject(tmp_path, mask=name), sets, answer(sets[0]), answer)
        if found is None:
            return None
        first, second = (
            [None if one is None else one.shape for one in outputs] for outputs in found
        )
        assert first == second, "one for each input set"
        return first

    return of


def test_without_a_declaration_all_is_compared(kept):
    assert kept((B, "tokens", 7), name=None) is None


def test_an_output_with_more_dimensions_that_begins_with_those_of_the_mask_is_masked(kept):
    asked = []
    assert kept((B, "tokens", 7), (B, "tokens", 2, 2), (B, 4), (), (S, B, 7), asked=asked) == [
        (B, S),
        (B, S),
        None,
        None,
        None,
    ]
    assert len(asked) == 1, "nothing more had to be asked"


def test_an_output_of_the_very_dimensions_is_masked_if_it_gets_shorter_with_the_inputs(kept):
    assert kept((B, "tokens")) == [(B, S)]
    assert kept((B, S), (B, "tokens", 7)) == [None, (B, S)], "as many classes as tokens, by chance"


def test_as_many_classes_as_tokens_alone_leave_nothing_to_mask(kept):
    assert kept((B, S)) is None


def test_inputs_are_cut_by_one_token_where_they_begin_with_batch_and_tokens(tmp_path):
    asked = []

    def answer(inputs):
        asked.append({name: tuple(value.shape) for name, value in inputs.items()})
        return [torch.zeros(B, inputs["ids"].shape[1])]

    inputs = {
        "ids": torch.zeros(B, S),
        "mask": KEPT,
        "table": torch.zeros(S, B),
        "deep": torch.zeros(B, S, 2),
    }
    masks(subject(tmp_path, mask="mask"), [inputs], [torch.zeros(B, S)], answer)
    assert asked == [
        {"ids": (B, S - 1), "mask": (B, S - 1), "table": (S, B), "deep": (B, S - 1, 2)}
    ]


def test_a_model_that_takes_one_length_only_is_not_masked_by_chance(tmp_path):
    def answer(inputs):
        raise RuntimeError("512 tokens or nothing")

    inputs = {"ids": torch.zeros(B, S), "mask": KEPT}
    assert masks(subject(tmp_path, mask="mask"), [inputs], [torch.zeros(B, S)], answer) is None
    outputs = [torch.zeros(B, S), torch.zeros(B, S, 4)]
    ((classes, states),) = masks(subject(tmp_path, mask="mask"), [inputs], outputs, answer)
    assert classes is None
    assert states.tolist() == KEPT.bool().tolist()


def test_masks_of_one_dimension_and_of_attention_mask_no_output(kept):
    assert kept((B, "tokens", 7), mask=torch.ones(B)) is None
    assert kept((B, "tokens", 7), mask=torch.ones(B, 1, S, S)) is None


def test_every_input_set_has_its_own_mask_and_one_by_position_is_found(tmp_path):
    sets = [(torch.zeros(B, S), KEPT), (torch.zeros(B, S), 1 - KEPT)]
    first, second = masks(subject(tmp_path, mask=1), sets, [torch.zeros(B, S, 2)], lambda _: [])
    assert first[0].tolist() == KEPT.bool().tolist()
    assert second[0].tolist() == (1 - KEPT).bool().tolist()
    assert first[0].dtype == bool


@pytest.mark.parametrize(
    "mask", [KEPT.bool(), KEPT.float(), KEPT.bfloat16()], ids=lambda mask: str(mask.dtype)
)
def test_a_mask_may_be_of_any_dtype(kept, mask):
    assert kept((B, "tokens", 7), mask=mask) == [(B, S)]


@pytest.mark.parametrize("name", ["attention_mask", 2])
def test_a_mask_that_is_no_input_is_refused_with_those_there_are(kept, name):
    told = f"case c: mask={name!r} is no input that is a tensor; inputs: ['ids', 'mask']"
    with pytest.raises(WrongDeclarationError, match=re.escape(told)):
        kept((B, "tokens", 7), name=name)


# -- output_mask


def one_mask(ids, mask):
    return mask.bool()


def by_position(ids, mask):
    return (None, mask.bool(), None)


def as_a_list(ids, mask):
    return [None, mask, torch.ones(B)]


def nothing(ids, mask):
    return None


def nothing_of_each(ids, mask):
    return (None, None, None)


def too_few(ids, mask):
    return (mask, None)


def of_another_shape(ids, mask):
    return mask.t()


def of_another_shape_in_its_place(ids, mask):
    return (mask.t(), None, None)


def no_tensor(ids, mask):
    return {"mask": mask}


def failing(ids, mask):
    raise KeyError("lengths")


OUTPUTS = [torch.zeros(B, 4), torch.zeros(B, S, 2), torch.zeros(B, S)]


def declared(tmp_path, function):
    one = subject(tmp_path, output_mask=f"{__name__}:{function.__name__}")
    sets = [{"ids": torch.zeros(B, S), "mask": kept} for kept in (KEPT, 1 - KEPT)]
    return masks(one, sets, OUTPUTS, lambda _: pytest.fail("a declaration needs no question"))


def test_one_output_mask_is_of_all_outputs_that_begin_with_its_dimensions(tmp_path):
    first, second = declared(tmp_path, one_mask)
    assert first[0] is None
    assert first[1].tolist() == first[2].tolist() == KEPT.bool().tolist()
    assert second[1].tolist() == (1 - KEPT).bool().tolist()


def test_an_output_mask_for_each_output_is_taken_as_it_is(tmp_path):
    for first, _ in (declared(tmp_path, by_position), declared(tmp_path, as_a_list)):
        assert first[0] is None
        assert first[1].tolist() == KEPT.bool().tolist()
    assert declared(tmp_path, by_position)[0][2] is None
    assert declared(tmp_path, as_a_list)[0][2].tolist() == [True] * B


def test_an_output_mask_goes_before_a_mask(tmp_path):
    one = subject(tmp_path, output_mask=f"{__name__}:by_position", mask="mask")
    ((first, *_),) = masks(one, [{"ids": torch.zeros(B, S), "mask": KEPT}], OUTPUTS, lambda _: [])
    assert first is None


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            too_few,
            "gave 2 masks, the model gives 3 outputs; give None for those of which all is compared",
        ),
        (of_another_shape, "gave a mask of (5, 3), which has the first dimensions of no output"),
        (
            of_another_shape_in_its_place,
            "gave a mask of (5, 3) for output 0, which is (3, 4): a mask has the first",
        ),
        (nothing, "gave no mask"),
        (nothing_of_each, "gave no mask"),
        (no_tensor, "gave a dict for output 0"),
    ],
)
def test_a_wrong_output_mask_is_refused_with_what_was_found(tmp_path, function, message):
    with pytest.raises(
        WrongDeclarationError,
        match=re.escape(f'output_mask "{__name__}:{function.__name__}" {message}'),
    ):
        declared(tmp_path, function)


def test_an_error_of_an_output_mask_names_it(tmp_path):
    with pytest.raises(KeyError) as told:
        declared(tmp_path, failing)
    assert f'raised by output_mask "{__name__}:failing"' in told.value.__notes__


# -- inputs that look like masks


def test_inputs_of_zeros_and_ones_look_like_masks_of_outputs_that_begin_with_their_dimensions():
    inputs = {
        "ids": torch.arange(B * S).reshape(B, S),
        "mask": KEPT,
        "short": KEPT.bfloat16(),
        "ones": torch.ones(B, S),
        "other": torch.ones(S, B).tril(),
        "row": torch.tensor([0, 1, 1]),
        "deep": [KEPT.bool()],
        "word": "a",
        "array": np.ones((B, S)),
    }
    found = padding(inputs, (B, S, 7))
    assert list(found) == ["mask", "short", "deep.0"]
    assert all(np.array_equal(values, KEPT.bool().numpy()) for values in found.values())
    assert list(padding((torch.zeros(B, S), KEPT), (B, S))) == ["1"]
    assert padding(inputs, (B,)) == {}
