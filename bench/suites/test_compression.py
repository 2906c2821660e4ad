"""Compressed models beside the original: faster or smaller, and about as accurate."""

from paritygate import Case, Shape, cell_tests

CASES = (
    Case(
        "digits_compressed",
        model="models.digits:trained",
        inputs="models.digits:digit_images",
        shapes={
            "b32": Shape({"batch": 32}, budget="normal"),
            "b1": Shape({"batch": 1}, budget="normal"),
        },
        unit="image",
        targets=("*-eager-fp32",),
        variants={
            "int8": "models.compression:dynamic_int8",
            "pruned": "models.compression:pruned",
            "pruned_channels": "models.compression:pruned_channels",
            "distilled": "models.compression:distilled",
        },
        evaluate="models.digits:held_out",
        accuracy=0.96,
        tolerance="compressed",
    ),
    Case(
        "corpus_compressed",
        model="models.distillation:teacher",
        inputs="models.distillation:sentences",
        shapes={"b8": Shape({"batch": 8}, budget="normal")},
        unit="sentence",
        targets=("*-eager-fp32",),
        variants={"distilled": "models.distillation:student"},
        evaluate="models.training_data:held_out",
        accuracy=0.95,
        tolerance="compressed",
        deadline=900.0,  # if they are not cached yet, teacher and student are trained first
        preload=("transformers.models.bert.modeling_bert",),
    ),
)

test_parity, test_throughput = cell_tests(CASES)
