"""Tokenizers: BERT's in plain Python, and those of transformers and tokenizers, on reviews and on
hostile Unicode.
"""

from paritygate import Case, Shape, cell_tests

VARIANTS = {
    name: f"models.tokenizing:{name}"
    for name in ("hf_fast", "hf_bert", "hf_python", "tokenizers_lib")
}
SKIPS = {"cuda": "texts are tokenised by the host, which the cpu cells measure"} | dict.fromkeys(
    ("bf16", "fp16", "tf32", "amp_*"), "texts and ids are no floating-point numbers"
)


def batches(budget: str, *sizes: tuple[int, int]) -> dict[str, Shape]:
    """Return shapes named b<batch>_s<sequence>, from the given budget on."""
    return {
        f"b{batch}_s{seq}": Shape({"batch": batch, "seq": seq}, budget=budget)
        for batch, seq in sizes
    }


def tokenizers(
    name: str, inputs: str, shapes: dict[str, Shape], parity_shapes: dict[str, Shape]
) -> Case:
    """Return a case for the tokenizers on these inputs."""
    return Case(
        name,
        model="models.tokenizing:plain",
        inputs=f"models.tokenizing:{inputs}",
        shapes=shapes,
        parity_shapes=parity_shapes,
        unit="sentence",
        targets=("eager",),
        variants=VARIANTS,
        reference="eager",
        skips=SKIPS,
        preload=("transformers.models.bert.tokenization_bert", "tokenizers"),
    )


CASES = (
    tokenizers(
        "tokenize",
        "sentences",
        batches("normal", (64, 64)) | batches("normal", (1, 64), (64, 512), (1, 512)),
        {},
    ),
    tokenizers(
        "tokenize_hostile",
        "hostile",
        batches("normal", (64, 64)),
        batches("normal", (64, 512), (1, 64), (16, 5)),
    ),
)

test_parity, test_throughput = cell_tests(CASES)
