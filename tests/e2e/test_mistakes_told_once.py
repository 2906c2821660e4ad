"""A mistake that all cells of a case share is told once, and begins with the user's own code."""

from __future__ import annotations

import re

MODEL = """
    import torch

    class Net(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.line = torch.nn.Linear(width, 4)

        def forward(self, x):
            return self.line(x)

    built, number = Net(16), 3

    def make():
        return Net(16)

    def wrong():
        return Net("wide")

    def forgets_its_batch():
        return lambda x: x @ torch.zeros(len(x) + 9, 4)

    def inputs(sizes, generator):
        return (torch.randn(sizes["batch"], 16, generator=generator),)

    def two(sizes, generator):
        return inputs(sizes, generator) * 2

    def nothing():
        return inputs({"batch": 3}, None)

    def samples():
        return torch.zeros(8, 16)

    def encode(x, y):
        return (x,)

    def fused():
        return make()
"""
CASES = """
    def case(name, model="make", inputs="inputs", **more):
        shapes = {"b8": {"batch": 8}, "b4": {"batch": 4}}
        return Case(name, model=f"my_model:{model}", inputs=f"my_model:{inputs}", shapes=shapes, **more)

    CASES = (
        case("takes_width", "Net"),
        case("built", "built"),
        case("number", "number"),
        case("misspelt", "mak"),
        case("inputs_take_nothing", inputs="nothing"),
        case("two_inputs", inputs="two"),
        case("encodes_two", preprocess="my_model:encode"),
        case("no_labels", evaluate="my_model:samples"),
        case("no_row", tolerance="fp33"),
        case("flops", flops="my_model:make"),
        case("variant", variants={"fused": "my_model:fused"}),
        case("no_optimizer", mode="training", optimizer="my_model:make"),
    )
"""
SAID = {
    "takes_width-b8-cpu-eager": 'model "my_model:Net" is called without arguments, which it does not take: '
    "Net.__init__() missing 1 required positional argument: 'width'\n"
    "write a function that does, for example\ndef make(): return Net(width=64)",
    "built-b8-cpu-eager": 'model "my_model:built" is a module that is built already; name the class',
    "number-b8-cpu-eager": "is called without arguments, which it does not take: 'int' object is not callable",
    "misspelt-b8-cpu-eager": "did you mean 'make'?",
    "inputs_take_nothing-b8-cpu-eager": 'inputs "my_model:nothing" is called as inputs(sizes, generator), which it '
    "does not take: nothing() takes 0 positional arguments but 2 were given",
    "two_inputs-b8-cpu-eager": 'the model was called with the result of inputs "my_model:two": 2 arguments',
    "encodes_two-b8-cpu-eager": "is called with the result of inputs",
    "no_labels-b8-cpu-eager": 'evaluate "my_model:samples" returned a Tensor; it must return (inputs, labels)',
    "no_row-b8-cpu-eager": "tolerance='fp33' is no row of tolerances.csv; it has fp32, ",
    "flops-b8-cpu-eager": "is called as flops(sizes), which it does not take",
    "variant-b8-cpu-fused": 'variant "my_model:fused" is called with the model, which it does not take',
    "no_optimizer-b8-cpu-eager": "is called with the model's parameters, which it does not take",
}


def test_what_cannot_be_called_is_told_with_how_it_is_called_and_what_to_write(project):
    project.write("my_model.py", MODEL)
    project.suite(CASES)
    result = project.run("--bench-budget", "normal", "-k", "parity")
    reasons = {cell: record.reason for cell, record in project.records().items()}

    for cell, said in SAID.items():
        assert said in reasons[f"{cell}-fp32"], cell
    shown = result.stdout.str()
    assert shown.count("Net.__init__()") == 2  # by the test of one cell, and by the report
    assert "takes_width-b4-cpu-eager-fp32: failed for the same reason as takes_width-b8-" in shown
    assert "WrongDeclarationError" not in shown


def test_a_trace_begins_with_the_users_own_frame_and_comes_once(project):
    project.write("my_model.py", MODEL)
    project.suite(
        CASES.partition("    CASES")[0]
        + '    CASES = (case("wrong", "wrong"), case("sizes", "forgets_its_batch"))\n'
    )
    result = project.run("--bench-budget", "normal", "-k", "parity")
    shown = result.stdout.str()

    frames = re.findall(
        r'most recent call last\):\n  File ".*[/\\](\w+)\.py", line \d+, in (.*)', shown
    )
    assert frames == [("my_model", "wrong"), ("my_model", "<lambda>")]
    result.stdout.fnmatch_lines(["  failed  wrong-b8-cpu-eager-fp32 and 1 more cell"])
    result.stdout.fnmatch_lines(["  failed  sizes-b8-cpu-eager-fp32 and 1 more cell"])
