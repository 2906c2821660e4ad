"""Attention on CUDA: each kernel at the sizes of language models, forward and backward, with a cold
L2.

Every shape has 8,192 tokens of width 2,048. These kernels are made for fp16 and bf16. flash and
cudnn refuse fp32, and their cells are skipped with the reason that they give.
"""

from paritygate import Case, Shape, cell_tests

TOKENS, WIDTH = 8192, 2048
LENGTHS = (1024, 4096, 8192)
SIZES = (128, 64)  # of a head
# variants that each kernel supports; flash supports no mask
KERNELS = {
    "math": ("full", "causal", "padded", "gqa"),
    "flash": ("full", "causal", "gqa"),
    "efficient": ("full", "causal", "padded", "gqa"),
    "cudnn": ("full", "causal", "padded", "gqa"),
    "flex": ("full", "causal", "padded", "gqa"),
}
CAUSAL = ("causal", "gqa")  # grouped queries are causal as well, as in decoders


def heads(seq: int, size: int, shared: int) -> dict[str, int]:
    """Return sizes of an operator. ``shared``: the number of query heads that share one head of
    keys and values.
    """
    count = WIDTH // size
    few = {"kv_heads": count // shared} if shared > 1 else {}
    return {"batch": TOKENS // seq, "heads": count, "seq": seq, "head_dim": size} | few


def name(sizes: dict[str, int]) -> str:
    """Return the name of a shape, e.g. ``b8_h16_s1024_d128``."""
    return "b{batch}_h{heads}_s{seq}_d{head_dim}".format(**sizes)


def budget(sizes: dict[str, int], backward: bool) -> str:
    """Return the smallest budget that includes a shape.

    Quick: forward at 1,024. Normal: heads of size 128 at all lengths, of size 64 at 4,096. Long:
    the others.
    """
    if (sizes["seq"], sizes["head_dim"], backward) == (LENGTHS[0], SIZES[0], False):
        return "quick"
    return "normal" if sizes["head_dim"] == SIZES[0] or sizes["seq"] == LENGTHS[1] else "long"


def operator(kernel: str, variant: str, backward: bool) -> Case:
    """Return a case for a kernel, with every length and head size."""
    causal, shared = variant in CAUSAL, 4 if variant == "gqa" else 1
    # math writes the scores of all heads, 9 GB in fp32 at 8,192, and eager and compiled are open at
    # the same time
    lengths = LENGTHS[:2] if kernel == "math" else LENGTHS
    every = [heads(seq, size, shared) for size in SIZES for seq in lengths]
    odd = {"batch": 3, "heads": 8, "seq": 333, "head_dim": 64} | (
        {"kv_heads": 2} if shared > 1 else {}
    )
    model = "flex" if kernel == "flex" else f"sdpa_{kernel}"
    return Case(
        f"attn_cuda_{kernel}_{variant}{'_backward' if backward else ''}",
        mode="backward" if backward else "inference",
        model=f"models.attention:{model}{'_causal' if causal else ''}",
        inputs=f"models.attention:{'qkv_padded' if variant == 'padded' else 'qkv'}",
        mask="mask" if variant == "padded" and not backward else None,
        shapes={name(sizes): Shape(sizes, budget=budget(sizes, backward)) for sizes in every},
        parity_shapes={name(odd): Shape(odd, budget="normal")},
        unit="query",
        count=("batch", "seq"),
        # not flex in eager mode, which writes the scores as well; it is made for the compiler
        targets=("cuda-compile*-*",) if kernel == "flex" else ("cuda-eager-*", "cuda-compile*-*"),
        cold_cache=True,
        deadline=600.0,  # comparing four answers of 17 million numbers, with gradients of 67, takes a minute
        flops=f"models.attention:flops{'_causal' if causal else ''}{'_backward' if backward else ''}",
    )


CASES = tuple(
    operator(kernel, variant, backward)
    for backward in (False, True)
    for kernel, variants in KERNELS.items()
    for variant in variants
)

test_parity, test_throughput = cell_tests(CASES)
