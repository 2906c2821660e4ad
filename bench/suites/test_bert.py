"""BERT for sequence classification: three sizes with seeded random weights, and a checkpoint if
there is one.

``PARITYGATE_BERT`` names the checkpoint: a folder made by ``save_pretrained``, or a hub name.
"""

import os

from paritygate import Case, Shape, cell_tests


def sequences(budget: str, *sizes: tuple[int, int]) -> dict[str, Shape]:
    """Return shapes named b<batch>_s<sequence>, from the given budget on."""
    return {
        f"b{batch}_s{seq}": Shape({"batch": batch, "seq": seq}, budget=budget)
        for batch, seq in sizes
    }


def bert(
    name: str,
    model: str,
    inputs: str,
    shapes: dict[str, Shape],
    mask: str | None = None,
    short: str = "quick",
) -> Case:
    """Return a classifier. ``short``: the budget from which one short sequence is also checked."""
    return Case(
        name,
        model=f"models.bert:{model}",
        inputs=f"models.bert:{inputs}",
        shapes=shapes,
        parity_shapes=sequences(short, (1, 17)),
        unit="sequence",
        mask=mask,
        preload=("transformers.models.bert.modeling_bert",),
    )


SMALL = (
    sequences("quick", (8, 64))
    | sequences("normal", (1, 32), (1, 128), (8, 32), (8, 128), (32, 32), (32, 128))
    | sequences("long", (1, 512), (8, 512), (32, 512))
)
PADDED = sequences("quick", (8, 64)) | sequences("normal", (1, 128), (8, 128), (32, 128))
BASE = (
    sequences("quick", (1, 32))
    | sequences("normal", (1, 128), (8, 32))
    | sequences("long", (1, 512), (8, 128), (8, 512), (32, 32), (32, 128), (32, 512))
)

CASES: tuple[Case, ...] = (
    bert("bert_tiny", "tiny", "full_mask", SMALL),
    bert("bert_tiny_padded", "tiny", "padded_mask", PADDED, mask="attention_mask", short="normal"),
    bert(
        "bert_tiny_no_mask",
        "tiny",
        "no_mask",
        sequences("normal", (8, 64), (8, 128)),
        short="normal",
    ),
    bert("bert_mini", "mini", "full_mask", SMALL, short="normal"),
    bert("bert_mini_padded", "mini", "padded_mask", PADDED, mask="attention_mask", short="normal"),
    bert("bert_base", "base", "full_mask", BASE, short="normal"),
)
if os.environ.get("PARITYGATE_BERT"):
    CASES += (
        bert("bert_checkpoint", "checkpoint", "checkpoint_sentences", BASE, mask="attention_mask"),
    )

test_parity, test_throughput = cell_tests(CASES)
