"""Cells that are timed to judge a machine: the doctor uses six, the evidence of the
laboratory all.
"""

from __future__ import annotations

from paritygate.core.case import Case

BERT = ("transformers.models.bert.modeling_bert",)


def _operator(name: str, model: str, seq: int) -> Case:
    sizes = {"batch": 4, "heads": 8, "seq": seq, "head_dim": 64}
    return Case(
        name,
        model=f"models.attention:{model}",
        inputs="models.attention:qkv",
        shapes={f"s{seq}": sizes},
    )


CNN = Case(
    "cnn_digits",
    model="models.cnn:DigitsCNN",
    inputs="models.cnn:digit_images",
    shapes={"b32": {"batch": 32}},
)
BERT_MINI = Case(
    "bert_mini",
    model="models.bert:mini",
    inputs="models.bert:full_mask",
    shapes={"b8_s64": {"batch": 8, "seq": 64}},
    preload=BERT,
)
NAIVE = _operator("attn_naive", "naive", 256)
SDPA = _operator("attn_sdpa", "sdpa", 128)
MULTI_HEAD = Case(
    "attn_multi_head",
    model="models.attention:multi_head",
    inputs="models.attention:tokens",
    shapes={"b8_s64": {"batch": 8, "seq": 64}},
)

BACKENDS = ("eager", "compile", "onnxruntime")
ALL = (CNN, NAIVE, SDPA, _operator("attn_sdpa_long", "sdpa", 256), MULTI_HEAD, BERT_MINI)
SIX = (CNN, BERT_MINI, NAIVE)
SIX_BACKENDS = ("eager", "onnxruntime")
SIX_CUDA_BACKENDS = ("eager", "compile")
