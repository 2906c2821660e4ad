"""Attention: formula, operator, kernels and layers against each other."""

import copy
import importlib

import pytest
import torch
from torch.nn import functional

from models import attention as attn
from paritygate.backends import BACKENDS
from paritygate.core.budgets import BUDGETS
from paritygate.core.case import cell_of
from paritygate.session.targets import select
from suites import test_attention_cuda as cuda_suite

HEADS = {"batch": 2, "heads": 4, "seq": 33, "head_dim": 16}
TOKENS = {"batch": 3, "seq": 17}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(model):
    torch.manual_seed(0)
    return model().eval()


def doubled(tensors):
    return tuple(tensor.double() for tensor in tensors)


def by_loops(query, key, value, causal=False):
    """Attention of one head, (L, D) and (S, D), row by row: as plain as it gets."""
    rows = []
    for i, q in enumerate(query):
        seen = min(i + 1, len(key)) if causal else len(key)
        weights = torch.softmax(torch.stack([q @ k for k in key[:seen]]) / len(q) ** 0.5, dim=0)
        rows.append(sum(weight * v for weight, v in zip(weights, value[:seen], strict=True)))
    return torch.stack(rows)


# -- operators


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("seq", "keys"), [(5, 5), (4, 7), (7, 4)])
@pytest.mark.parametrize("operator", [attn.NaiveAttention, attn.SdpaAttention, attn.FlexAttention])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_every_operator_is_the_formula(operator, seq, keys, causal):
    query, key, value = doubled(attn.qkv({**HEADS, "seq": seq, "keys": keys}, seeded()))
    answer = operator(causal=causal)(query, key, value)
    right = by_loops(query[1, 2], key[1, 2], value[1, 2], causal)
    torch.testing.assert_close(answer[1, 2], right)


@pytest.mark.parametrize("operator", [attn.NaiveAttention, attn.SdpaAttention])
def test_causal_is_aligned_at_the_upper_left(operator):
    query, key, value = attn.qkv({**HEADS, "seq": 3, "keys": 9}, seeded())
    answer = operator(causal=True)(query, key, value)
    # the first query sees the first key alone
    torch.testing.assert_close(answer[:, :, 0], value[:, :, 0])
    value[:, :, 3:] = 1e3  # what nobody sees changes nothing
    torch.testing.assert_close(operator(causal=True)(query, key, value), answer)


@pytest.mark.parametrize("kernel", [None, "math", "flash"])
@pytest.mark.parametrize("causal", [False, True])
def test_formula_and_kernels_agree(kernel, causal):
    inputs = attn.qkv(HEADS, seeded())
    right = attn.NaiveAttention(causal)(*doubled(inputs))
    answer = attn.SdpaAttention(causal, kernel)(*inputs)
    assert torch.linalg.norm(answer - right) < 1e-6 * torch.linalg.norm(right)


@pytest.mark.parametrize("operator", [attn.NaiveAttention, attn.SdpaAttention])
def test_masked_keys_do_not_count(operator):
    inputs = attn.qkv_padded(HEADS, seeded())
    answer = operator()(**inputs)
    hidden = ~inputs["mask"].transpose(-1, -2)
    changed = inputs | {"value": inputs["value"].masked_fill(hidden, 1e3)}
    torch.testing.assert_close(operator()(**changed), answer)
    ignored = operator()(*attn.qkv(HEADS, seeded()))
    assert torch.linalg.norm(ignored - answer) > 0.1 * torch.linalg.norm(answer)


def test_naive_joins_mask_and_causality():
    inputs = attn.qkv_padded(HEADS, seeded())
    lower = torch.ones(33, 33, dtype=torch.bool).tril()
    joined = functional.scaled_dot_product_attention(
        inputs["query"], inputs["key"], inputs["value"], inputs["mask"] & lower
    )
    torch.testing.assert_close(attn.NaiveAttention(causal=True)(**inputs), joined)


@pytest.mark.parametrize("keys", [17, 33, 256])
def test_padding_is_30_to_50_percent_of_the_keys(keys):
    mask = attn.qkv_padded({**HEADS, "batch": 64, "keys": keys}, seeded())["mask"]
    assert mask.shape == (64, 1, 1, keys)
    share = 1 - mask.double().mean(dim=-1)
    assert share.min() >= 0.3
    assert share.max() <= 0.5


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("operator", [attn.NaiveAttention, attn.SdpaAttention, attn.FlexAttention])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_heads_of_queries_share_a_head_of_keys(operator, causal):
    query, key, value = doubled(attn.qkv({**HEADS, "kv_heads": 2}, seeded()))
    assert (query.shape[1], key.shape, value.shape) == (4, (2, 2, 33, 16), (2, 2, 33, 16))
    answer = operator(causal=causal)(query, key, value)
    for head, shared in enumerate((0, 0, 1, 1)):
        right = by_loops(query[1, head], key[1, shared], value[1, shared], causal)
        torch.testing.assert_close(answer[1, head], right)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_masks_keys_as_the_formula_does():
    inputs = attn.qkv_padded({**HEADS, "kv_heads": 2}, seeded())
    torch.testing.assert_close(attn.FlexAttention()(**inputs), attn.NaiveAttention()(**inputs))
    with pytest.raises(ValueError, match="a mask and causal=True"):
        attn.FlexAttention(causal=True)(**inputs)


CHUNKED = [
    (attn.SdpaAttention, attn.qkv, False),
    (attn.SdpaAttention, attn.qkv, True),
    (attn.SdpaAttention, attn.qkv_padded, False),
    (attn.FlexAttention, attn.qkv, True),
    (attn.FlexAttention, attn.qkv_padded, False),
]


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize(("operator", "inputs", "causal"), CHUNKED)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_head_by_head_the_answer_is_the_same(operator, inputs, causal, kv_heads, monkeypatch):
    made = inputs({**HEADS, "kv_heads": kv_heads}, seeded())
    names = list(made) if isinstance(made, dict) else ("query", "key", "value")
    given = dict(zip(names, made.values() if isinstance(made, dict) else made, strict=True))
    exact = {
        name: each.double() if each.is_floating_point() else each for name, each in given.items()
    }
    model = operator(causal=causal)
    whole = model(**exact)
    calls = []
    one_head = attn._head_by_head
    monkeypatch.setattr(attn, "_head_by_head", lambda *asked: calls.append(1) or one_head(*asked))
    monkeypatch.setattr(attn, "SCORES_AT_ONCE", 0)
    with torch.inference_mode():
        torch.testing.assert_close(model(**exact), whole)
    assert calls


@pytest.mark.parametrize("inputs", [attn.qkv, attn.qkv_padded])
def test_head_by_head_the_gradients_are_the_same_and_no_scores_are_kept(inputs, monkeypatch):
    made = inputs({**HEADS, "kv_heads": 2}, seeded())
    *leaves, mask = (*made.values(),) if isinstance(made, dict) else (*made, None)
    leaves = [leaf.double().requires_grad_() for leaf in leaves]
    direction = torch.randn(leaves[0].shape, generator=seeded(1), dtype=torch.float64)

    def gradients():
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: kept.append(t.numel()) or t, lambda t: t
        ):
            answer = attn.SdpaAttention()(*leaves, mask)
        return torch.autograd.grad(answer, leaves, direction), max(kept)

    whole, much = gradients()
    monkeypatch.setattr(attn, "SCORES_AT_ONCE", 0)
    parts, little = gradients()
    for one, other in zip(parts, whole, strict=True):
        torch.testing.assert_close(one, other)
    assert little < 33 * 33 <= much


def test_operations_are_those_of_two_products_and_five_more_behind_them():
    assert attn.flops(HEADS) == 2 * (2 * 2 * 4 * 33 * 33 * 16)
    assert attn.flops({**HEADS, "keys": 11}) == attn.flops(HEADS) // 3
    assert attn.flops({**HEADS, "kv_heads": 1}) == attn.flops(HEADS)
    assert attn.flops_causal(HEADS) == attn.flops(HEADS) / 2
    assert attn.flops_backward(HEADS) == attn.flops(HEADS) * 3.5
    assert attn.flops_causal_backward(HEADS) == attn.flops(HEADS) * 1.75


# -- kernels


@pytest.mark.parametrize("kernel", ["efficient", "cudnn"])
def test_a_kernel_that_does_not_exist_raises_its_reason(kernel):
    inputs = attn.qkv(HEADS, seeded())
    reason = attn.kernel_unavailable(kernel, "cpu", torch.float32)
    assert reason == f"{kernel} attention exists on CUDA only"
    with pytest.raises(attn.KernelUnavailable, match=reason):
        attn.SdpaAttention(kernel=kernel)(*inputs)


@pytest.mark.parametrize("kernel", ["efficient", "cudnn"])
def test_nor_does_a_compiler_take_another_one(kernel):
    compiled = torch.compile(attn.SdpaAttention(kernel=kernel), backend="eager", fullgraph=True)
    with pytest.raises(RuntimeError):
        compiled(*attn.qkv(HEADS, seeded()))


def test_kernels_that_run_have_no_reason():
    assert attn.kernel_unavailable("math", "cpu", torch.float32) is None
    assert attn.kernel_unavailable("flash", "cpu", torch.bfloat16) is None


def test_a_kernel_that_refuses_what_math_takes_says_why():
    query, key, value = attn.qkv(HEADS, seeded())
    narrow = value[..., :8]
    assert attn.SdpaAttention(kernel="math")(query, key, narrow).shape == narrow.shape
    with pytest.raises(attn.KernelUnavailable, match="flash attention on cpu in float32: "):
        attn.SdpaAttention(kernel="flash")(query, key, narrow)


def test_a_kernel_that_refuses_a_dtype_says_so():
    reason = attn.kernel_unavailable("flash", "cpu", torch.int32)
    assert reason is not None
    assert reason.startswith("flash attention on cpu in int32: ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_kernels_without_cuda_say_so():
    assert "no CUDA device" in str(attn.kernel_unavailable("flash", "cuda", torch.float16))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_flash_on_cuda_takes_half_precision_only():
    assert attn.kernel_unavailable("efficient", "cuda", torch.float32) is None
    assert "float32" in str(attn.kernel_unavailable("flash", "cuda", torch.float32))
    with pytest.raises(attn.KernelUnavailable):
        attn.SdpaAttention(kernel="flash")(*(tensor.cuda() for tensor in attn.qkv(HEADS, seeded())))


@pytest.mark.parametrize("kernel", ["math", "flash"])
def test_other_errors_stay_what_they_are(kernel):
    query, key, value = attn.qkv(HEADS, seeded())
    with pytest.raises(RuntimeError) as error:
        attn.SdpaAttention(kernel=kernel)(query, key[..., :3], value)
    assert not isinstance(error.value, attn.KernelUnavailable)


def test_the_reference_in_float64_is_the_same_for_every_kernel():
    inputs = doubled(attn.qkv(HEADS, seeded()))
    answers = [attn.SdpaAttention(kernel=kernel)(*inputs) for kernel in attn.KERNELS]
    assert all(torch.equal(answer, answers[0]) for answer in answers)


def test_an_unknown_kernel_is_refused_by_name():
    with pytest.raises(ValueError, match="'fast' is none of math, flash, efficient, cudnn"):
        attn.SdpaAttention(kernel="fast")


@pytest.mark.parametrize(
    "model", [attn.sdpa_math, attn.sdpa_flash, attn.sdpa_causal, attn.decoder_step]
)
def test_compiles_as_one_graph(model):
    module = built(model)
    make = attn.tokens_and_memory if model is attn.decoder_step else attn.qkv
    inputs = make(TOKENS if model is attn.decoder_step else HEADS, seeded())
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(*inputs), module(*inputs))


# -- layers


def test_self_attention_is_the_formula_on_projections():
    layer = built(lambda: attn.SelfAttention(width=16, heads=1)).double()
    (x,) = doubled(attn.tokens({**TOKENS, "width": 16}, seeded()))
    right = attn.attention(x @ layer.W_Q.weight.T, x @ layer.W_K.weight.T, x @ layer.W_V.weight.T)
    torch.testing.assert_close(layer(x), right)


def test_heads_work_side_by_side():
    layer = built(lambda: attn.SelfAttention(width=24, heads=3)).double()
    (x,) = doubled(attn.tokens({**TOKENS, "width": 24}, seeded()))
    q, k, v = (projection(x)[..., 8:16] for projection in (layer.W_Q, layer.W_K, layer.W_V))
    torch.testing.assert_close(layer(x)[..., 8:16], attn.attention(q, k, v))


def test_multi_head_is_torchs_with_the_same_weights():
    own = built(lambda: attn.MultiHeadAttention(width=32, heads=4))
    torchs = built(lambda: attn.TorchMultiHead(width=32, heads=4))
    with torch.no_grad():
        stacked = torch.cat([own.W_Q.weight, own.W_K.weight, own.W_V.weight])
        torchs.attention.in_proj_weight.copy_(stacked)
        torchs.attention.out_proj.weight.copy_(own.W_O.weight)
        (x,) = attn.tokens({**TOKENS, "width": 32}, seeded())
        torch.testing.assert_close(own(x), torchs(x))


def test_encoder_and_decoder_steps_are_their_formulas():
    x, y = attn.tokens_and_memory({**TOKENS, "keys": 9}, seeded())
    assert (x.shape, y.shape) == ((3, 9, attn.WIDTH), (3, 17, attn.WIDTH))
    encoder, decoder = built(attn.encoder_step), built(attn.decoder_step)
    torch.testing.assert_close(encoder(x), encoder.self_attention(x) + x)
    z = decoder.self_attention(y) + y
    cross = decoder.cross_attention
    projected = cross.W_Q(z), cross.W_K(x), cross.W_V(x)
    heads = (each.unflatten(-1, (attn.HEADS, -1)).transpose(1, 2) for each in projected)
    right = attn.attention(*heads).transpose(1, 2).flatten(2) + z
    torch.testing.assert_close(decoder(x, y), right)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="width=10 cannot be cut into heads=4"):
        attn.SelfAttention(10, 4)


@pytest.mark.parametrize(
    "model",
    [attn.self_attention, attn.multi_head, attn.torch_mha, attn.encoder_step, attn.decoder_step],
)
def test_layers_attend_unevenly_enough_for_faults_to_show(model):
    layer = built(model)
    make = attn.tokens_and_memory if model is attn.decoder_step else attn.tokens
    inputs = make(TOKENS, seeded())
    exact = copy.deepcopy(layer).double()
    with torch.inference_mode():
        right = exact(*doubled(inputs))
        for name, weight in exact.named_parameters():
            if "W_Q" in name or "in_proj_weight" in name:
                weight[0] *= 1.01
        fault = torch.linalg.norm(exact(*doubled(inputs)) - right)
        assert fault > 8 * torch.linalg.norm(layer(*inputs) - right)


@pytest.mark.parametrize(
    ("make", "sizes"), [(attn.qkv, HEADS), (attn.tokens, TOKENS), (attn.tokens_and_memory, TOKENS)]
)
def test_inputs_follow_the_seed(make, sizes):
    one, same, other = make(sizes, seeded(1)), make(sizes, seeded(1)), make(sizes, seeded(2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("model", "inputs", "sizes"),
    [
        (attn.naive, attn.qkv, {"batch": 1, "heads": 2, "seq": 3, "head_dim": 4}),
        (attn.naive_causal, attn.qkv, {"batch": 1, "heads": 2, "seq": 3, "head_dim": 4}),
        (attn.naive, attn.qkv_padded, {"batch": 2, "heads": 1, "seq": 4, "head_dim": 3}),
        (attn.sdpa, attn.qkv, {"batch": 1, "heads": 2, "seq": 3, "head_dim": 4}),
        (attn.sdpa_causal, attn.qkv, {"batch": 1, "heads": 2, "seq": 3, "head_dim": 4}),
        (attn.sdpa, attn.qkv_padded, {"batch": 2, "heads": 1, "seq": 4, "head_dim": 3}),
        (attn.sdpa, attn.qkv, {"batch": 1, "heads": 2, "seq": 3, "head_dim": 4, "keys": 5}),
        (
            attn.naive_causal,
            attn.qkv,
            {"batch": 1, "heads": 2, "seq": 3, "head_dim": 4, "kv_heads": 1},
        ),
        (
            attn.sdpa_causal,
            attn.qkv,
            {"batch": 1, "heads": 2, "seq": 3, "head_dim": 4, "kv_heads": 1},
        ),
    ],
)
def test_gradients_are_those_of_finite_differences(model, inputs, sizes):
    made = inputs(sizes, torch.Generator().manual_seed(0))
    names = list(made) if isinstance(made, dict) else range(len(made))
    leaves = [made[name] for name in names]
    given = [
        leaf.double().requires_grad_() if leaf.is_floating_point() else leaf for leaf in leaves
    ]

    def run(*tensors):
        return (
            model()(**dict(zip(names, tensors, strict=True)))
            if isinstance(made, dict)
            else model()(*tensors)
        )

    assert sum(leaf.requires_grad for leaf in given) == 3
    assert torch.autograd.gradcheck(run, given)


# -- the suite for CUDA

QUICK = [
    f"attn_cuda_{name}-b8_h16_s1024_d128-cuda-{backend}-fp32"
    for name, backends in (
        ("math_full", ("eager", "compile")),
        ("math_causal", ("eager", "compile")),
        ("math_padded", ("eager", "compile")),
        ("math_gqa", ("eager", "compile")),
        ("flash_full", ("eager", "compile")),
        ("flash_causal", ("eager", "compile")),
        ("flash_gqa", ("eager", "compile")),
        ("efficient_full", ("eager", "compile")),
        ("efficient_causal", ("eager", "compile")),
        ("efficient_padded", ("eager", "compile")),
        ("efficient_gqa", ("eager", "compile")),
        ("cudnn_full", ("eager", "compile")),
        ("cudnn_causal", ("eager", "compile")),
        ("cudnn_padded", ("eager", "compile")),
        ("cudnn_gqa", ("eager", "compile")),
        ("flex_full", ("compile",)),
        ("flex_causal", ("compile",)),
        ("flex_padded", ("compile",)),
        ("flex_gqa", ("compile",)),
    )
    for backend in backends
]
LENGTHS = {  # budget -> what it adds, forward
    "quick": ["b8_h16_s1024_d128"],
    "normal": ["b2_h16_s4096_d128", "b1_h16_s8192_d128", "b2_h32_s4096_d64", "b3_h8_s333_d64"],
    "long": ["b8_h32_s1024_d64", "b1_h32_s8192_d64"],
}


def ids(budget: str, terms: str) -> list[str]:
    """The cells of the suite, as ``--bench-budget`` and ``--bench-targets`` choose them."""
    chosen = select(terms, BACKENDS)
    cells = [
        cell_of(case, shape, target)
        for case in cuda_suite.CASES
        for shape in BUDGETS[budget].shapes(case)
        for target in chosen
    ]
    return [cell.id for cell in cells if cell is not None]


def test_a_quick_run_on_cuda_has_each_kernel_with_each_mask_it_takes():
    assert ids("quick", "cuda") == QUICK
    assert ids("quick", "cpu") == []


def test_longer_budgets_add_lengths_head_sizes_and_backward():
    cases = {cell.split("-")[0] for cell in QUICK}
    cases |= {f"{name}_backward" for name in cases}
    shapes = LENGTHS["quick"] + LENGTHS["normal"]
    for budget in ("normal", "long"):
        shapes = shapes + (LENGTHS["long"] if budget == "long" else [])
        wanted = {
            f"{case}-{shape}-cuda-{backend}-bf16"
            for case in cases
            for shape in shapes
            for backend in ("eager", "compile")
            if not ("_math_" in case and "8192" in shape)
            and not ("_flex_" in case and backend == "eager")
        }
        found = ids(budget, "cuda-eager-bf16,cuda-compile-bf16")
        assert len(found) == len(set(found))
        assert set(found) == wanted


@pytest.mark.parametrize("case", cuda_suite.CASES, ids=[case.name for case in cuda_suite.CASES])
def test_a_case_on_cuda_is_what_its_name_says(case):
    _, _, kernel, variant, *backward = case.name.split("_")
    for shape in case.all_shapes():
        sizes = shape.sizes
        assert sizes["batch"] * sizes["seq"] == 8192 or not shape.timed
        assert sizes["heads"] * sizes["head_dim"] == 2048 or not shape.timed
        assert sizes.get("kv_heads", sizes["heads"]) == sizes["heads"] // (
            4 if variant == "gqa" else 1
        )
        whole = 4 * sizes["batch"] * sizes["heads"] * sizes["seq"] ** 2 * sizes["head_dim"]
        told = located(case.flops)(sizes)
        assert told == whole * (0.5 if variant in ("causal", "gqa") else 1) * (
            3.5 if backward else 1
        )
    assert (case.mode == "backward") == bool(backward)
    assert case.cold_cache
    model = located(case.model)()
    assert model.causal == (variant in ("causal", "gqa"))
    assert getattr(model, "kernel", "flex") == kernel
    small = {"batch": 2, "heads": 4, "seq": 10, "head_dim": 8}
    assert isinstance(located(case.inputs)(small, seeded()), dict) == (variant == "padded")


def located(place: str):
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)
