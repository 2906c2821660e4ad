"""Attention by its formula, by PyTorch's operator and its kernels, and the layers built from it.

Shapes: B batch, H heads, L queries, S keys, D head size, E = H * D width of a layer. Queries are
(B, H, L, D), keys and values (B, H, S, D), the X and Y of layers (B, L, E). Keys and values may
have fewer heads. Each of these then serves an equal number of adjacent query heads (grouped
queries, Ainslie et al. 2023). Masks are bool, broadcast to (B, H, L, S), and True where a query may
attend to a key. A query that may attend to no key is not supported, because kernels give different
answers for it.

Causal means aligned at the upper left, as in ``scaled_dot_product_attention(is_causal=True)``:
query i sees keys 0 to i. With S > L no query sees the last keys; with S < L the last queries see
all keys.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.backends import cuda
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention
from torch.utils.checkpoint import checkpoint

# sizes of the layers that the functions without arguments at the end of this file make
WIDTH, HEADS = 256, 4

KERNELS = {
    "math": SDPBackend.MATH,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
}
CUDA_ONLY = ("efficient", "cudnn")
# bytes; if the scores would need more memory, heads are computed one by one
SCORES_AT_ONCE = 1 << 30
MAY_USE = {
    "flash": cuda.can_use_flash_attention,
    "efficient": cuda.can_use_efficient_attention,
    "cudnn": cuda.can_use_cudnn_attention,
}


class KernelUnavailable(RuntimeError):  # no ...Error: it is a fact about device and dtype
    """A forced kernel cannot run on these tensors. The message is the reason."""


# ----------------------------------------------------------------------------------------------
# operators


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return softmax(Q K^T / sqrt(D)) V, written like the formula (Vaswani et al. 2017, equation
    1).
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1) @ value


class NaiveAttention(nn.Module):
    """Attention by its formula, with the (B, H, L, S) scores in memory."""

    def __init__(self, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Map Q (B, H, L, D), K and V (B, H, S, D), and a mask or None, to (B, H, L, D)."""
        if self.causal:
            lower = query.new_ones(query.shape[-2], key.shape[-2], dtype=torch.bool).tril()
            mask = lower if mask is None else mask & lower
        if _grouped(query, key):
            key, value = (
                each.repeat_interleave(query.shape[1] // each.shape[1], dim=1)
                for each in (key, value)
            )
        return attention(query, key, value, mask)


class SdpaAttention(nn.Module):
    """Attention by ``scaled_dot_product_attention``, with the kernel that PyTorch chooses or a
    forced one.

    A forced kernel that cannot run raises ``KernelUnavailable`` with the reason (PyTorch's own
    error while a compiler traces). It is never replaced by another kernel. Only float64 is always
    computed by the math kernel, because most kernels do not support it and it is the reference for
    all kernels. Long sequences in float64 are computed head by head.
    """

    def __init__(self, causal: bool = False, kernel: str | None = None) -> None:
        super().__init__()
        if kernel is not None and kernel not in KERNELS:
            raise ValueError(f"kernel={kernel!r} is none of {', '.join(KERNELS)}")
        self.causal = causal
        self.kernel = kernel

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Map Q (B, H, L, D), K and V (B, H, S, D), and a mask or None, to (B, H, L, D).

        PyTorch refuses a mask together with ``causal=True``.
        """
        asked = (query, key, value, mask, self.causal)
        if query.dtype == torch.float64 and _too_large(query, key):
            return _head_by_head(_exact, *asked)
        if self.kernel is None:
            return _operator(*asked)
        kernel = "math" if query.dtype == torch.float64 else self.kernel
        try:
            with sdpa_kernel(KERNELS[kernel]):
                return _operator(*asked)
        except RuntimeError as error:
            # The reason is found after the failure, so that it costs a successful call nothing.
            reason = _refusal(kernel, *asked)
            if reason is None or _refusal("math", *asked) is not None:
                raise  # math takes every legal call, so the error is about memory or shapes
            raise KernelUnavailable(reason) from error


def kernel_unavailable(kernel: str, device: torch.device | str, dtype: torch.dtype) -> str | None:
    """Return why a kernel of ``SdpaAttention`` cannot run on a device in a dtype, or None if it
    can.

    The kernel is tried on this machine with one head of 16 queries of size 64, without a mask.
    """
    device = torch.device(device)
    if device.type == "cuda" and not torch.cuda.is_available():
        return f"{kernel} attention on {device}: this machine has no CUDA device"
    probe = torch.zeros(1, 1, 16, 64, device=device, dtype=dtype)
    return _refusal(kernel, probe, probe, probe, mask=None, causal=False)


def _operator(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool
) -> Tensor:
    return functional.scaled_dot_product_attention(
        query, key, value, mask, is_causal=causal, enable_gqa=_grouped(query, key)
    )


def _math(*asked: Any) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):
        return _operator(*asked)


def _exact(*asked: Any) -> Tensor:
    """Return the math kernel's answer. Its backward computes the scores again instead of keeping
    them.
    """
    answer: Tensor = checkpoint(_math, *asked, use_reentrant=False, preserve_rng_state=False)
    return answer


def _grouped(query: Tensor, key: Tensor) -> bool:
    return query.shape[-3] != key.shape[-3]


def _too_large(query: Tensor, key: Tensor) -> bool:
    """Return whether the scores of all heads at once would take too much memory."""
    return query[..., 0].numel() * key.shape[-2] * query.element_size() > SCORES_AT_ONCE


def _head_by_head(
    operator: Callable[..., Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    causal: bool,
) -> Tensor:
    """Return the operator's answer, computed for one head of one row after the other."""
    batch, heads = query.shape[:2]
    group = heads // key.shape[1]
    masks = None if mask is None else mask.expand(batch, heads, *mask.shape[-2:])

    def one(row: int, head: int) -> Tensor:
        row_, head_, shared = (slice(place, place + 1) for place in (row, head, head // group))
        hidden = None if masks is None else masks[row_, head_]
        return operator(query[row_, head_], key[row_, shared], value[row_, shared], hidden, causal)

    return torch.cat(
        [torch.cat([one(row, head) for head in range(heads)], dim=1) for row in range(batch)]
    )


def _refusal(
    kernel: str, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool
) -> str | None:
    """Return the reason why a kernel cannot run on these tensors, or None."""
    if query.device.type != "cuda" and kernel in CUDA_ONLY:
        return f"{kernel} attention exists on CUDA only"
    if query.device.type == "cuda" and kernel in MAY_USE:
        if MAY_USE[kernel](
            cuda.SDPAParams(query, key, value, mask, 0.0, causal, _grouped(query, key))
        ):
            return None
        with warnings.catch_warnings(
            record=True
        ) as caught:  # PyTorch gives its reasons only as warnings of the operator
            warnings.simplefilter("always")
            with suppress(RuntimeError), sdpa_kernel(KERNELS[kernel]), torch.no_grad():
                _operator(query, key, value, mask, causal)
        texts = (str(warning.message).split(" (Triggered")[0].strip() for warning in caught)
        reasons = [
            text
            for text in texts
            if not text.endswith("because:") and "runtime disabled" not in text
        ]
    else:
        try:
            with sdpa_kernel(KERNELS[kernel]), torch.no_grad():
                _operator(query, key, value, mask, causal)
        except RuntimeError as error:
            reasons = [str(error).split(". ")[0]]
        else:
            return None
    dtype = str(query.dtype).removeprefix("torch.")
    return f"{kernel} attention on {query.device.type} in {dtype}: {' '.join(reasons) or 'refused'}"


class FlexAttention(nn.Module):
    """Attention by ``flex_attention``. It is made for ``torch.compile``. Without it, it is slow and
    warns, and long sequences are computed head by head.

    Masks and the causal order are a ``score_mod``, fused into the compiled kernel. Nothing is made
    in advance, so one module serves all lengths. But scores that no query sees are computed; a
    block mask would avoid this.
    """

    def __init__(self, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Map Q (B, H, L, D), K and V (B, H, S, D), and a mask (B, 1, 1, S) or None, to (B, H, L,
        D).
        """
        if mask is not None and self.causal:
            raise ValueError("a mask and causal=True: flex attention here takes one of them")
        asked = (query, key, value, mask, self.causal)
        if not torch.compiler.is_compiling() and _too_large(query, key):
            return _head_by_head(_flex, *asked)
        return _flex(*asked)


def _flex(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    score_mod: Callable[..., Tensor] | None = _causal_score if causal else None
    if mask is not None:

        def padded_score(
            score: Tensor, row: Tensor, _head: Tensor, _query: Tensor, key: Tensor
        ) -> Tensor:
            return torch.where(mask[row, 0, 0, key], score, -math.inf)

        score_mod = padded_score
    answer: Tensor = flex_attention(
        query, key, value, score_mod=score_mod, enable_gqa=_grouped(query, key)
    )
    return answer


def _causal_score(
    score: Tensor, _batch: Tensor, _head: Tensor, query: Tensor, key: Tensor
) -> Tensor:
    return torch.where(query >= key, score, -math.inf)


# -------------------------------------------------------------------------------------------------
# layers


class SelfAttention(nn.Module):
    """self-attention(X) = attention(X W_Q, X W_K, X W_V), in H heads side by side.

    With a second input Y it is cross-attention: queries from X, keys and values from Y.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width={width} cannot be cut into heads={heads} of the same size")
        self.heads = heads
        self.W_Q = nn.Linear(width, width, bias=False)
        self.W_K = nn.Linear(width, width, bias=False)
        self.W_V = nn.Linear(width, width, bias=False)
        # Scores of standard deviation 1. PyTorch's default initialisation gives a third of it, and
        # attention so uniform that it hides faults.
        for projection in (self.W_Q, self.W_K, self.W_V):
            nn.init.xavier_uniform_(projection.weight)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        """Map X (B, L, E), and the memory (B, S, E) or None, to (B, L, E)."""
        memory = x if memory is None else memory
        heads = (
            self._split(self.W_Q(x)),
            self._split(self.W_K(memory)),
            self._split(self.W_V(memory)),
        )
        return functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        """Map (B, L, E) to (B, H, L, D)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class MultiHeadAttention(SelfAttention):
    """Self-attention followed by an output projection W_O, which mixes the heads (Vaswani et al.
    2017, section 3.2.2).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.W_O = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        """Map X (B, L, E), and the memory (B, S, E) or None, to (B, L, E)."""
        return self.W_O(super().forward(x, memory))


class TorchMultiHead(nn.Module):
    """``nn.MultiheadAttention`` as self-attention. The attention weights are not returned:
    returning them disables SDPA.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map X (B, L, E) to (B, L, E)."""
        return self.attention(x, x, x, need_weights=False)[0]


class EncoderStep(nn.Module):
    """encoder(X) = self-attention(X) + X."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attention = SelfAttention(width, heads)

    def forward(self, x: Tensor) -> Tensor:
        """Map X (B, L, E) to (B, L, E)."""
        return self.self_attention(x) + x


class DecoderStep(nn.Module):
    """decoder(X, Y): Z = self-attention(Y) + Y, then attention(Z W_Q, X W_K, X W_V) + Z.

    X is the output of the encoder, Y the target sequence. Nothing of Y is masked.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attention = SelfAttention(width, heads)
        self.cross_attention = SelfAttention(width, heads)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Map X (B, S, E) and Y (B, L, E) to (B, L, E)."""
        z = self.self_attention(y) + y
        return self.cross_attention(z, x) + z


# ----------------------------------------------------------------------------------------------
# models by name, without arguments

naive = NaiveAttention
naive_causal = partial(NaiveAttention, causal=True)
sdpa = SdpaAttention
sdpa_causal = partial(SdpaAttention, causal=True)
sdpa_math = partial(SdpaAttention, kernel="math")
sdpa_flash = partial(SdpaAttention, kernel="flash")
sdpa_efficient = partial(SdpaAttention, kernel="efficient")
sdpa_cudnn = partial(SdpaAttention, kernel="cudnn")
sdpa_math_causal = partial(SdpaAttention, kernel="math", causal=True)
sdpa_flash_causal = partial(SdpaAttention, kernel="flash", causal=True)
sdpa_efficient_causal = partial(SdpaAttention, kernel="efficient", causal=True)
sdpa_cudnn_causal = partial(SdpaAttention, kernel="cudnn", causal=True)
flex = FlexAttention
flex_causal = partial(FlexAttention, causal=True)
self_attention = partial(SelfAttention, WIDTH, HEADS)
multi_head = partial(MultiHeadAttention, WIDTH, HEADS)
torch_mha = partial(TorchMultiHead, WIDTH, HEADS)
encoder_step = partial(EncoderStep, WIDTH, HEADS)
decoder_step = partial(DecoderStep, WIDTH, HEADS)


# -------------------------------------------------------------------------------------------------
# inputs


def qkv(sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return standard normal Q (B, H, L, D), K and V (B, H, S, D).

    ``sizes``: batch, heads, seq, head_dim; keys (default seq) and kv_heads (default heads) for keys
    and values.
    """
    batch, heads, seq, size = (sizes[name] for name in ("batch", "heads", "seq", "head_dim"))
    few = sizes.get("kv_heads", heads), sizes.get("keys", seq)
    query, key, value = (
        torch.randn(batch, *each, size, generator=generator) for each in ((heads, seq), few, few)
    )
    return query, key, value


def qkv_padded(sizes: Mapping[str, int], generator: torch.Generator) -> dict[str, Tensor]:
    """Return Q, K and V of ``qkv`` with a mask (B, 1, 1, S) that hides 30 to 50 % of the keys of
    each row, never all.
    """
    query, key, value = qkv(sizes, generator)
    keys = key.shape[-2]
    shortest = max(1, math.ceil(0.5 * keys))
    longest = max(shortest, math.floor(0.7 * keys))
    lengths = torch.randint(shortest, longest + 1, (len(key), 1, 1, 1), generator=generator)
    return {"query": query, "key": key, "value": value, "mask": torch.arange(keys) < lengths}


def tokens(sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor]:
    """Return standard normal X (B, L, E). ``sizes``: batch, seq, and width (default: that of the
    layers above).
    """
    return (
        torch.randn(sizes["batch"], sizes["seq"], sizes.get("width", WIDTH), generator=generator),
    )


def tokens_and_memory(
    sizes: Mapping[str, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return standard normal X (B, S, E) and Y (B, L, E) for a decoder. ``sizes``: as for
    ``tokens``, and keys (default seq).
    """
    (y,) = tokens(sizes, generator)
    (x,) = tokens({**sizes, "seq": sizes.get("keys", sizes["seq"])}, generator)
    return x, y


# ----------------------------------------------------------------------------------------------
# operations of a call


def flops(sizes: Mapping[str, int], causal: bool = False, backward: bool = False) -> int:
    """Return the floating point operations of attention by its algorithm, not those of a kernel: 4
    B H L S D.

    They are counted as in FlashAttention-2 (Dao 2023, section 4.1). ``causal``: half of them, for
    as many keys as queries. ``backward``: forward and backward; the backward has five products, the
    forward two.
    """
    batch, heads, seq, size = (sizes[name] for name in ("batch", "heads", "seq", "head_dim"))
    forward = 4 * batch * heads * seq * sizes.get("keys", seq) * size // (2 if causal else 1)
    return forward * 7 // 2 if backward else forward


flops_causal = partial(flops, causal=True)
flops_backward = partial(flops, backward=True)
flops_causal_backward = partial(flops, causal=True, backward=True)
