"""Convolutional networks on small images: seeded random weights, and weights trained on real
digits.
"""

from collections.abc import Mapping

from paritygate import Case, Shape, cell_tests

BATCHES: dict[str, Mapping[str, int] | Shape] = {
    "b32": {"batch": 32},
    "b1": Shape({"batch": 1}, budget="normal"),
    "b256": Shape({"batch": 256}, budget="normal"),
}

CASES = (
    Case(
        "cnn_digits",
        model="models.cnn:DigitsCNN",
        inputs="models.cnn:digit_images",
        shapes=BATCHES,
        parity_shapes={"b3": {"batch": 3}},
        unit="image",
    ),
    Case(
        "cnn_digits_trained",
        model="models.digits:trained",
        inputs="models.digits:digit_images",
        shapes=BATCHES,
        parity_shapes={"b3": Shape({"batch": 3}, budget="normal")},
        unit="image",
        evaluate="models.digits:held_out",
    ),
    Case(
        "cnn_rgb",
        model="models.cnn:RgbCNN",
        inputs="models.cnn:rgb_images",
        shapes=BATCHES,
        parity_shapes={"b3": {"batch": 3}},
        unit="image",
    ),
)

test_parity, test_throughput = cell_tests(CASES)
