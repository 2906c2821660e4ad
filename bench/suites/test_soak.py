"""A thousand calls of inference and of training: memory that grows with every call is a leak."""

from paritygate import Case, Shape, cell_tests

CALLS = 1000

CASES = (
    Case(
        "soak_cnn_digits",
        model="models.cnn:DigitsCNN",
        inputs="models.cnn:digit_images",
        shapes={"b8": Shape({"batch": 8}, budget="normal")},
        unit="image",
        soak=CALLS,
    ),
    Case(
        "soak_bert_tiny",
        model="models.bert:tiny",
        inputs="models.bert:full_mask",
        shapes={"b1_s32": Shape({"batch": 1, "seq": 32}, budget="normal")},
        unit="sequence",
        soak=CALLS,
        preload=("transformers.models.bert.modeling_bert",),
    ),
    Case(
        "soak_train_cnn_digits",
        mode="training",
        model="models.cnn:DigitsCNN",
        inputs="models.training:digit_batch",
        optimizer="models.training:sgd_momentum",
        shapes={"b8": Shape({"batch": 8}, budget="normal")},
        unit="image",
        soak=CALLS,
    ),
)

test_parity, _ = cell_tests(CASES)  # not timed: other suites time these models
