"""Which cells a session has: by the rows of backends, never by their names."""

from __future__ import annotations

from paritygate import Case, Shape
from paritygate.backends import BACKENDS, Backend
from paritygate.core.budgets import BUDGETS
from paritygate.core.case import Target
from paritygate.session.matrix import Matrix

CASE = Case(
    "one",
    model="m:M",
    inputs="m:i",
    shapes={"b8": {"batch": 8}, "b1": Shape({"batch": 1}, timed=False)},
    targets=("*",),
)


def cells_of(tmp_path, budget, *rows):
    made = Matrix(
        lambda: tmp_path,
        budget=BUDGETS[budget],
        chosen=[Target("cpu", row.name, "fp32") for row in rows],
        backends={row.name: row for row in rows},
        controlled=True,
        seed=0,
        memory=None,
        progress=None,
        emit=lambda record: None,
    )
    return [f"{cell.target.backend} {cell.shape.name}" for cell in made.cells([CASE], timed=False)]


def test_a_quick_run_opens_what_is_slow_to_open_for_timed_shapes_alone(tmp_path):
    quick_one = Backend("quick_one", "theirs")
    slow_one = Backend("slow_one", "theirs", slow_to_open=True)

    assert cells_of(tmp_path, "quick", quick_one, slow_one) == [
        "quick_one b8",
        "slow_one b8",
        "quick_one b1",
    ]
    assert "slow_one b1" in cells_of(tmp_path, "normal", quick_one, slow_one)


def test_what_the_rows_say_of_our_backends():
    def those(column):
        return {name for name, row in BACKENDS.items() if getattr(row, column)}

    compiled = {"compile", "compile_reduce_overhead", "compile_max_autotune"}
    assert those("compiles") == compiled | {"tensorrt"}
    assert those("slow_to_open") == compiled | {"aoti"}
    assert those("single_threaded_load") == compiled
    assert those("resizable") == {"eager", "onnxruntime"}
    assert those("default") == {"eager", "compile", "onnxruntime"}
