"""Attention forward and backward: the gradients of queries, keys, values and parameters, against
float64.
"""

from paritygate import Case, Shape, cell_tests


def operator(name: str, model: str, inputs: str = "qkv") -> Case:
    """Return an operator: 8 heads of size 64."""
    sizes = {"batch": 4, "heads": 8, "seq": 128, "head_dim": 64}
    small = {"batch": 1, "heads": 8, "seq": 17, "head_dim": 64}
    return Case(
        f"grad_{name}",
        mode="backward",
        model=f"models.attention:{model}",
        inputs=f"models.attention:{inputs}",
        shapes={"b4_h8_s128_d64": Shape(sizes, budget="normal")},
        parity_shapes={"b1_h8_s17_d64": Shape(small, budget="normal")},
        flops="models.attention:flops_causal_backward" if "causal" in model else None,
        unit="query",
        count=("batch", "seq"),
    )


def layer(name: str, model: str, inputs: str = "tokens") -> Case:
    """Return a layer of width 256 with 4 heads."""
    return Case(
        f"grad_{name}",
        mode="backward",
        model=f"models.attention:{model}",
        inputs=f"models.attention:{inputs}",
        shapes={"b8_s64": Shape({"batch": 8, "seq": 64}, budget="normal")},
        unit="token",
        count=("batch", "seq"),
    )


CASES = (
    operator("attn_naive", "naive"),
    operator("attn_naive_causal", "naive_causal"),
    operator("attn_naive_padded", "naive", "qkv_padded"),
    operator("attn_sdpa", "sdpa"),
    operator("attn_sdpa_causal", "sdpa_causal"),
    operator("attn_sdpa_padded", "sdpa", "qkv_padded"),
    layer("attn_multi_head", "multi_head"),
    layer("attn_self", "self_attention"),
    layer("attn_torch_mha", "torch_mha"),
    layer("attn_encoder_step", "encoder_step"),
    layer("attn_decoder_step", "decoder_step", "tokens_and_memory"),
)

test_parity, test_throughput = cell_tests(CASES)
