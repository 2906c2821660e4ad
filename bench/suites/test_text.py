"""Text: from sentences to probabilities in one call, and a short training by a loop and by Hugging
Face's Trainer.
"""

from paritygate import Case, Shape, cell_tests

CASES = (
    Case(
        "text_to_probabilities",
        model="models.text:probabilities",
        inputs="models.tokenizing:sentences",
        preprocess="models.text:encode",
        shapes={
            "b8_s64": Shape({"batch": 8, "seq": 64}, budget="normal"),
            "b1_s64": Shape({"batch": 1, "seq": 64}, budget="normal"),
        },
        unit="sentence",
        preload=("transformers.models.bert.modeling_bert",),
    ),
    Case(
        "loop_bert_tiny",
        model="models.loops:Loop",
        inputs="models.loops:corpus_batches",
        variants={"hf_trainer": "models.loops:hf_trainer"},
        shapes={"k8_b8_s32": Shape({"steps": 8, "batch": 8, "seq": 32}, budget="normal")},
        unit="sentence",
        count=("steps", "batch"),
        targets=("*-eager-fp32",),
        tolerance="fp32_gradients",
        preload=("transformers.models.bert.modeling_bert",),
    ),
)

test_parity, test_throughput = cell_tests(CASES)
