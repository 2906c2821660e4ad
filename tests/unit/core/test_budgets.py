"""What a budget includes, and that a larger one never includes less."""

from paritygate.core.budgets import BUDGETS
from paritygate.core.case import BUDGETS as NAMES
from paritygate.core.case import Case, Shape

CASE = Case(
    "c",
    model="m:M",
    inputs="m:i",
    shapes={
        "later": Shape({"batch": 9}, budget="normal"),
        "first": {"batch": 1},
        "second": {"batch": 2},
        "huge": Shape({"batch": 99}, budget="long"),
    },
    parity_shapes={"odd": {"batch": 17}},
)


def names(budget):
    return [shape.name for shape in BUDGETS[budget].shapes(CASE)]


def test_the_table_names_the_budgets_that_a_shape_may_name():
    assert tuple(BUDGETS) == NAMES


def test_quick_takes_the_first_timed_shape_and_those_that_are_only_checked():
    assert names("quick") == ["first", "odd"]


def test_normal_and_long_take_what_asks_for_no_more():
    assert names("normal") == ["later", "first", "second", "odd"]
    assert names("long") == ["later", "first", "second", "huge", "odd"]


def test_quick_may_have_nothing_to_time_and_still_checks():
    case = Case(
        "c",
        model="m:M",
        inputs="m:i",
        shapes={"huge": Shape({"batch": 9}, budget="long")},
        parity_shapes={"odd": {"batch": 17}},
    )
    assert [shape.name for shape in BUDGETS["quick"].shapes(case)] == ["odd"]


def test_a_larger_budget_gives_more_time_more_precision_and_later_deadlines():
    small, *larger = BUDGETS.values()
    for large in larger:
        assert large.seconds > small.seconds
        assert large.precision < small.precision
        assert large.launches > small.launches
        assert large.open_deadline > small.open_deadline
        small = large


def test_ratios_of_all_but_quick_have_an_interval():
    assert all(budget.launches >= 3 for name, budget in BUDGETS.items() if name != "quick")
