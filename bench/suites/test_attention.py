"""Attention: the formula, PyTorch's operator and its kernels, and the layers built from them."""

from collections.abc import Mapping

from paritygate import Case, Shape, cell_tests

# onnxruntime's graph is the same for every forced kernel of PyTorch, so it is measured once only.
TORCH_ONLY = ("*-eager-*", "*-compile*-*")
NO_FLEX = {"onnxruntime": "ConversionError: ONNX has no flex_attention"}


def heads(batch: int, seq: int, keys: int | None = None) -> dict[str, int]:
    """Return sizes of an operator: 8 heads of size 64, and as many keys as queries by default."""
    return {"batch": batch, "heads": 8, "seq": seq, "head_dim": 64} | (
        {"keys": keys} if keys else {}
    )


def operator(
    name: str,
    model: str,
    inputs: str = "qkv",
    mask: str | None = None,
    seqs: tuple[int, int] = (128, 256),
    targets: tuple[str, ...] = ("*",),
    skips: Mapping[str, str] | None = None,
    short: str = "quick",
) -> Case:
    """Return an operator timed at two lengths, the second from the normal budget on.

    ``short``: the budget from which it is also checked at length 17.
    """
    quick, normal = seqs
    return Case(
        name,
        model=f"models.attention:{model}",
        inputs=f"models.attention:{inputs}",
        shapes={
            f"b4_h8_s{quick}_d64": heads(4, quick),
            f"b4_h8_s{normal}_d64": Shape(heads(4, normal), budget="normal"),
        },
        parity_shapes={"b1_h8_s17_d64": Shape(heads(1, 17), budget=short)},
        unit="query",
        count=("batch", "seq"),
        mask=mask,
        flops="models.attention:flops_causal" if "causal" in model else None,
        targets=targets,
        skips=skips or {},
    )


def cross(name: str, model: str) -> Case:
    """Return an operator with fewer queries than keys. It is also checked with more."""
    return Case(
        name,
        model=f"models.attention:{model}",
        inputs="models.attention:qkv",
        shapes={"b4_h8_s64_k256_d64": heads(4, 64, keys=256)},
        parity_shapes={
            "b1_h8_s17_k33_d64": Shape(
                heads(1, 17, keys=33), budget="normal"
            ),  # the timed shape is as wide
            "b3_h8_s33_k17_d64": heads(3, 33, keys=17),
        },
        unit="query",
        count=("batch", "seq"),
    )


def layer(name: str, model: str, inputs: str = "tokens") -> Case:
    """Return a layer of width 256 with 4 heads."""
    return Case(
        name,
        model=f"models.attention:{model}",
        inputs=f"models.attention:{inputs}",
        shapes={
            "b8_s64": {"batch": 8, "seq": 64},
            "b8_s256": Shape({"batch": 8, "seq": 256}, budget="normal"),
        },
        parity_shapes={"b1_s17": {"batch": 1, "seq": 17}},
        unit="token",
        count=("batch", "seq"),
    )


CASES = (
    operator("attn_naive", "naive", seqs=(256, 128)),
    operator("attn_naive_causal", "naive_causal", seqs=(256, 128)),
    operator("attn_naive_padded", "naive", "qkv_padded", mask="mask", seqs=(256, 128)),
    operator("attn_sdpa", "sdpa"),
    operator("attn_sdpa_causal", "sdpa_causal"),
    operator("attn_sdpa_padded", "sdpa", "qkv_padded", mask="mask"),
    operator("attn_sdpa_math", "sdpa_math", targets=TORCH_ONLY, short="normal"),
    operator("attn_sdpa_flash", "sdpa_flash", targets=TORCH_ONLY, short="normal"),
    operator(
        "attn_sdpa_efficient",
        "sdpa_efficient",
        targets=TORCH_ONLY,
        skips={"cpu": "KernelUnavailable: efficient attention exists on CUDA only"},
    ),
    operator(
        "attn_sdpa_cudnn",
        "sdpa_cudnn",
        targets=TORCH_ONLY,
        skips={"cpu": "KernelUnavailable: cudnn attention exists on CUDA only"},
    ),
    cross("attn_sdpa_cross", "sdpa"),
    cross("attn_sdpa_causal_cross", "sdpa_causal"),
    operator("attn_flex", "flex_causal", skips=NO_FLEX),
    layer("attn_self", "self_attention"),
    layer("attn_multi_head", "multi_head"),
    layer("attn_torch_mha", "torch_mha"),
    layer("attn_encoder_step", "encoder_step"),
    layer("attn_decoder_step", "decoder_step", "tokens_and_memory"),
)

test_parity, test_throughput = cell_tests(CASES)
