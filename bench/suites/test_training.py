"""Training steps: forward, cross-entropy, backward and an optimizer step, in eager and compiled.

Every parameter's gradient and the losses of the first steps are checked against float64.
"""

from collections.abc import Mapping

from paritygate import Case, Shape, cell_tests

# From batch 32 on: the gradient of the last pooling is read before it is written, so every layer in
# front of it gets a gradient of zero. TORCHINDUCTOR_LAYOUT_OPTIMIZATION=0 avoids this.
NO_GRADIENT = {
    "cpu-compile*-*; torch>=2.13": "torch's compiler loses the gradient of max_pool2d in channels_last"
}
BERT = ("transformers.models.bert.modeling_bert",)
OPTIMIZERS = ("sgd", "sgd_momentum", "adam", "adamw")


def steps(
    name: str,
    model: str,
    inputs: str,
    sizes: Mapping[str, int],
    unit: str,
    quick: str = "",
    known_failures: Mapping[str, str] | None = None,
) -> list[Case]:
    """Return a model with each optimizer. ``quick``: the optimizer of quick runs; the others are in
    normal ones.
    """
    shape = "_".join(f"{size[0]}{number}" for size, number in sizes.items())
    preload = BERT if model.startswith("models.bert:") else ()
    return [
        Case(
            f"train_{name}_{one}",
            mode="training",
            model=model,
            inputs=f"models.training:{inputs}",
            optimizer=f"models.training:{one}",
            shapes={shape: Shape(sizes, budget="quick" if one == quick else "normal")},
            unit=unit,
            preload=preload,
            known_failures=known_failures or {},
        )
        for one in OPTIMIZERS
    ]


def small(name: str, budget: str, **checked: Mapping[str, int]) -> Case:
    """Return a BERT over the corpus's vocabulary: quick runs have no time for the four million
    weights of 30,522 words.
    """
    return Case(
        f"train_corpus_{name}",
        mode="training",
        model=f"models.text:{name}",
        inputs="models.training_data:sentence_batch",
        optimizer="models.training:adamw",
        shapes={"b8": Shape({"batch": 8}, budget=budget)},
        parity_shapes=checked,
        unit="sentence",
        preload=BERT,
    )


CASES = (
    *steps(
        "cnn_digits",
        "models.cnn:DigitsCNN",
        "digit_batch",
        {"batch": 32},
        "image",
        "sgd",
        NO_GRADIENT,
    ),
    *steps("cnn_rgb", "models.cnn:RgbCNN", "rgb_batch", {"batch": 32}, "image", "adam"),
    *steps("mlp", "models.mlp:MLP", "flat_batch", {"batch": 256}, "image", "sgd_momentum"),
    *steps("bert_tiny", "models.bert:tiny", "sentence_batch", {"batch": 8, "seq": 64}, "sequence"),
    *steps("bert_mini", "models.bert:mini", "sentence_batch", {"batch": 8, "seq": 64}, "sequence"),
    small("tiny", "quick"),
    small("mini", "normal", b4={"batch": 4}),  # quick runs check its step and do not time it
)

test_parity, test_throughput = cell_tests(CASES)
