"""Multi-layer perceptrons: one with logits as its answer, one with probabilities."""

from collections.abc import Mapping

from paritygate import Case, Shape, cell_tests

BATCHES: dict[str, Mapping[str, int] | Shape] = {
    "b256": {"batch": 256},
    "b1": Shape({"batch": 1}, budget="normal"),
    "b32": Shape({"batch": 32}, budget="normal"),
}

CASES = (
    Case(
        "mlp",
        model="models.mlp:MLP",
        inputs="models.mlp:flat_images",
        shapes=BATCHES,
        parity_shapes={"b3": {"batch": 3}},
        unit="image",
    ),
    Case(
        "mlp_softmax",
        model="models.mlp:SoftmaxMLP",
        inputs="models.mlp:flat_images",
        shapes=BATCHES,
        parity_shapes={"b3": Shape({"batch": 3}, budget="normal")},
        unit="image",
    ),
)

test_parity, test_throughput = cell_tests(CASES)
