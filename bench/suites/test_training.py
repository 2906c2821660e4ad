"""Training steps: forward, cross-entropy, backward and a step of the optimizer, in eager and
compiled.

Checked are every parameter's gradient and the losses of the first steps, against float64.
"""

from collections.abc import Mapping

from paritygate import Case, Shape, cell_tests

# From batch 32 on: the backward of the last pooling is read before it is scattered into, so that
# every layer in front of it gets a gradient of zero. With TORCHINDUCTOR_LAYOUT_OPTIMIZATION=0 it is
# right.
NO_GRADIENT = {
    "cpu-compile*-*": "torch 2.13's compiler loses the gradient of max_pool2d in channels_last"
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
    gaps: Mapping[str, str] | None = None,
) -> list[Case]:
    """A model with each optimizer; ``quick`` names the one of quick runs, the others are of normal
    ones.
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
            known_failures=gaps or {},
        )
        for one in OPTIMIZERS
    ]


def small(name: str, budget: str, **checked: Mapping[str, int]) -> Case:
    """A BERT over the corpus's vocabulary: quick runs have no time for the four million weights of
    30,522 words.
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
    small("mini", "normal", b4={"batch": 4}),  # whose step quick runs check and do not time
)

test_parity, test_throughput = cell_tests(CASES)
