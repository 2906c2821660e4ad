"""Which cells a session has: by the rows of backends, never by their names."""

from __future__ import annotations

from paritygate import Case, Shape
from paritygate.backends import BACKENDS, Backend
from paritygate.core.budgets import BUDGETS
from paritygate.core.case import Target
from paritygate.session.matrix import Matrix
from paritygate.session.options import Options

CASE = Case(
    "one",
    model="m:M",
    inputs="m:i",
    shapes={"b8": {"batch": 8}, "b1": Shape({"batch": 1}, timed=False)},
    targets=("*",),
)


def cells_of(budget, *rows):
    made = Matrix(
        Options(
            targets=[Target("cpu", row.name, "fp32") for row in rows],
            budget=BUDGETS[budget],
            controlled=True,
            seed=0,
            memory=None,
            backends={row.name: row for row in rows},
        )
    )
    return [f"{cell.target.backend} {cell.shape.name}" for cell in made.cells([CASE], timed=False)]


def test_a_quick_run_opens_what_is_slow_to_open_for_timed_shapes_alone():
    quick_one = Backend("quick_one", "theirs")
    slow_one = Backend("slow_one", "theirs", slow_to_open=True)

    assert cells_of("quick", quick_one, slow_one) == [
        "quick_one b8",
        "slow_one b8",
        "quick_one b1",
    ]
    assert "slow_one b1" in cells_of("normal", quick_one, slow_one)


def test_what_the_rows_say_of_our_backends():
    def those(column):
        return {name for name, row in BACKENDS.items() if getattr(row, column)}

    compiled = {"compile", "compile_reduce_overhead", "compile_max_autotune"}
    assert those("compiles") == compiled | {"tensorrt"}
    assert those("slow_to_open") == compiled | {"aoti"}
    assert those("single_threaded_load") == compiled
    assert those("resizable") == {"eager", "onnxruntime"}
    assert those("default") == {"eager", "compile", "onnxruntime"}
