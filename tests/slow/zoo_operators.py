"""Operators and layers of torch, each as a module of its own.

Shapes: B batch, L sequence ("seq"). A row names the sizes of its inputs after B; "L" stands for the
sequence. Inputs are called x, y, z, v.

``OPERATORS`` is a table of plain values. torch is imported when a module or its inputs are made,
not before. Each row has two names for a ``Case``: ``tests.slow.zoo_operators:erf`` makes the
module, ``tests.slow.zoo_operators:erf_inputs`` its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.slow.zoo import attributes
from tests.slow.zoo_transformers import spread

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Sizes = Mapping[str, int]
Inputs = Callable[[Sizes, "torch.Generator"], dict[str, "Tensor"]]
Maker = Callable[[Sizes, "torch.Generator"], "Tensor"]  # of one input

KINDS = (
    "elementwise",
    "activation",
    "special",
    "reduction",
    "scan",
    "normalisation",
    "linear",
    "convolution",
    "pooling",
    "recurrent",
    "attention",
    "embedding",
    "indexing",
    "shape",
    "linear_algebra",
    "fft",
    "loss",
    "vision",
)
NAMES = ("x", "y", "z", "v")
WORDS = 50  # rows of an embedding


@dataclass(frozen=True)
class Operator:
    """An operator with its inputs: ``inputs`` gives the keyword arguments of a call."""

    name: str
    kind: str
    make: Callable[[], nn.Module]
    inputs: Inputs


# -- inputs


def real(*shape: int | str, batch: bool = True) -> Maker:
    """Return a maker of normal numbers, (B, *shape), or without B."""

    def make(sizes: Sizes, generator: torch.Generator) -> Tensor:
        import torch

        return torch.randn(_sized(sizes, shape, batch), generator=generator)

    return make


def between(low: float, high: float, *shape: int | str, batch: bool = True) -> Maker:
    """Return a maker of numbers from ``low`` to ``high``."""

    def make(sizes: Sizes, generator: torch.Generator) -> Tensor:
        import torch

        return low + (high - low) * torch.rand(_sized(sizes, shape, batch), generator=generator)

    return make


def index(high: int, *shape: int | str, low: int = 0, batch: bool = True) -> Maker:
    """Return a maker of whole numbers from ``low`` to ``high`` - 1."""

    def make(sizes: Sizes, generator: torch.Generator) -> Tensor:
        import torch

        return torch.randint(low, high, _sized(sizes, shape, batch), generator=generator)

    return make


def flags(*shape: int | str) -> Maker:
    """Return a maker of bools, about two thirds of them True, the first of every row always."""

    def make(sizes: Sizes, generator: torch.Generator) -> Tensor:
        import torch

        made = torch.rand(_sized(sizes, shape, True), generator=generator) < 2 / 3
        made[..., 0] = True
        return made

    return make


def padded(*shape: int | str) -> Maker:
    """Return a maker of masks that are True at padding: the last third of every row."""

    def make(sizes: Sizes, generator: torch.Generator) -> Tensor:
        import torch

        *rows, length = _sized(sizes, shape, True)
        return (torch.arange(length) >= length - length // 3).repeat(*rows, 1)

    return make


def order(size: int | str) -> Maker:
    """Return a maker of a random order of ``size`` things."""

    def make(sizes: Sizes, generator: torch.Generator) -> Tensor:
        import torch

        return torch.randperm(*_sized(sizes, (size,), False), generator=generator)

    return make


def regular(size: int, *, symmetric: bool = False, lower: bool = False) -> Maker:
    """Return a maker of matrices (B, size, size) that are far from singular; symmetric ones are
    positive definite.
    """

    def make(sizes: Sizes, generator: torch.Generator) -> Tensor:
        import torch

        made = torch.randn(sizes["batch"], size, size, generator=generator)
        if symmetric:
            return made @ made.mT / size + torch.eye(size)
        made = made + size * torch.eye(size)
        return made.tril() if lower else made

    return make


def _sized(sizes: Sizes, shape: tuple[int | str, ...], batch: bool) -> list[int]:
    sized = [sizes["seq"] if size == "L" else int(size) for size in shape]
    return [sizes["batch"], *sized] if batch else sized


def _together(
    makers: tuple[Maker, ...], sizes: Sizes, generator: torch.Generator
) -> dict[str, Tensor]:
    return {name: make(sizes, generator) for name, make in zip(NAMES, makers, strict=False)}


# -- modules


def _module(operation: Callable[[Any], Callable[..., Any]]) -> nn.Module:
    import torch

    class Operation(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.operation = operation(torch)

        def forward(
            self,
            x: Tensor,
            y: Tensor | None = None,
            z: Tensor | None = None,
            v: Tensor | None = None,
        ) -> Any:
            return self.operation(*(given for given in (x, y, z, v) if given is not None))

    return spread(Operation())


def _row(
    name: str, kind: str, operation: Callable[[Any], Callable[..., Any]], *makers: Maker
) -> Operator:
    """Return the operator that ``operation`` gives when it is called with the module torch."""
    return Operator(name, kind, partial(_module, operation), partial(_together, makers))


VECTORS, PAIR = real("L", 16), (real("L", 16), real("L", 16))
PICTURE, SIGNAL, VOLUME = real(8, 12, 12), real(8, "L"), real(4, 6, 8, 8)

# One row is one operator.
# fmt: off
_ELEMENTWISE = (
    _row("add_broadcast", "elementwise", lambda torch: torch.add, VECTORS, real(16, batch=False)),
    _row("addcmul", "elementwise", lambda torch: lambda x, y, z: torch.addcmul(x, y, z, value=0.5), *PAIR, VECTORS),
    _row("divide", "elementwise", lambda torch: torch.div, VECTORS, between(0.5, 2, "L", 16)),
    _row("floor_divide", "elementwise", lambda torch: lambda x, y: torch.div(x, y, rounding_mode="floor"), VECTORS,
         between(0.5, 2, "L", 16)),
    _row("remainder", "elementwise", lambda torch: torch.remainder, VECTORS, between(0.5, 2, "L", 16)),
    _row("fmod", "elementwise", lambda torch: torch.fmod, VECTORS, between(0.5, 2, "L", 16)),
    _row("power", "elementwise", lambda torch: torch.pow, between(0.1, 3, "L", 16), between(-2, 2, "L", 16)),
    _row("rsqrt", "elementwise", lambda torch: torch.rsqrt, between(0.1, 3, "L", 16)),
    _row("exp", "elementwise", lambda torch: torch.exp, VECTORS),
    _row("expm1", "elementwise", lambda torch: torch.expm1, VECTORS),
    _row("log", "elementwise", lambda torch: torch.log, between(0.1, 3, "L", 16)),
    _row("log1p", "elementwise", lambda torch: torch.log1p, between(-0.9, 3, "L", 16)),
    _row("sin_cos", "elementwise", lambda torch: lambda x: (x.sin(), x.cos()), VECTORS),
    _row("tan", "elementwise", lambda torch: torch.tan, between(-1.4, 1.4, "L", 16)),
    _row("arcus", "elementwise", lambda torch: lambda x: (x.asin(), x.acos(), x.atan()), between(-0.9, 0.9, "L", 16)),
    _row("atan2", "elementwise", lambda torch: torch.atan2, *PAIR),
    _row("hyperbolic", "elementwise", lambda torch: lambda x: (x.sinh(), x.cosh(), x.asinh()), VECTORS),
    _row("round", "elementwise", lambda torch: lambda x: (x.round(), x.floor(), x.ceil(), x.trunc()), VECTORS),
    _row("sign_abs", "elementwise", lambda torch: lambda x: (x.sign(), x.abs(), x.frac()), VECTORS),
    _row("clamp", "elementwise", lambda torch: lambda x: x.clamp(-0.5, 1.0), VECTORS),
    _row("clamp_tensor", "elementwise", lambda torch: lambda x, y: torch.clamp(x, min=y), *PAIR),
    _row("maximum_minimum", "elementwise", lambda torch: lambda x, y: (x.maximum(y), x.minimum(y)), *PAIR),
    _row("lerp", "elementwise", lambda torch: lambda x, y: torch.lerp(x, y, 0.3), *PAIR),
    _row("where", "elementwise", lambda torch: torch.where, flags("L", 16), *PAIR),
    _row("compare", "elementwise", lambda torch: lambda x, y: (x > y, x.isclose(y), (x < y) & (x > 0)), *PAIR),
    _row("masked_fill", "elementwise", lambda torch: lambda x, y: x.masked_fill(y, -1.5), VECTORS, flags("L", 16)),
    _row("nan_to_num", "elementwise", lambda torch: lambda x: torch.nan_to_num(x / (x > 0), 1.0, 2.0, -2.0), VECTORS),
    _row("bitwise", "elementwise", lambda torch: lambda x, y: (x & y, x | y, x ^ y, x << 2), index(99, "L"),
         index(99, "L")),
    _row("cast", "elementwise", lambda torch: lambda x: (x.to(torch.int32), x > 0, x.to(torch.float16)), VECTORS),
)

_ACTIVATIONS = (
    _row("relu", "activation", lambda torch: torch.nn.ReLU(), VECTORS),
    _row("leaky_relu", "activation", lambda torch: torch.nn.LeakyReLU(0.1), VECTORS),
    _row("prelu", "activation", lambda torch: torch.nn.PReLU(8), SIGNAL),
    _row("elu", "activation", lambda torch: torch.nn.ELU(0.7), VECTORS),
    _row("selu", "activation", lambda torch: torch.nn.SELU(), VECTORS),
    _row("celu", "activation", lambda torch: torch.nn.CELU(0.7), VECTORS),
    _row("gelu", "activation", lambda torch: torch.nn.GELU(), VECTORS),
    _row("gelu_tanh", "activation", lambda torch: torch.nn.GELU("tanh"), VECTORS),
    _row("silu", "activation", lambda torch: torch.nn.SiLU(), VECTORS),
    _row("mish", "activation", lambda torch: torch.nn.Mish(), VECTORS),
    _row("softplus", "activation", lambda torch: torch.nn.Softplus(2.0, 3.0), VECTORS),
    _row("softsign", "activation", lambda torch: torch.nn.Softsign(), VECTORS),
    _row("softshrink", "activation", lambda torch: torch.nn.Softshrink(0.4), VECTORS),
    _row("hardshrink", "activation", lambda torch: torch.nn.Hardshrink(0.4), VECTORS),
    _row("tanhshrink", "activation", lambda torch: torch.nn.Tanhshrink(), VECTORS),
    _row("threshold", "activation", lambda torch: torch.nn.Threshold(0.1, -3.0), VECTORS),
    _row("hardtanh", "activation", lambda torch: torch.nn.Hardtanh(-0.5, 1.5), VECTORS),
    _row("hardsigmoid", "activation", lambda torch: torch.nn.Hardsigmoid(), VECTORS),
    _row("hardswish", "activation", lambda torch: torch.nn.Hardswish(), VECTORS),
    _row("relu6", "activation", lambda torch: torch.nn.ReLU6(), between(-3, 9, "L", 16)),
    _row("sigmoid", "activation", lambda torch: torch.nn.Sigmoid(), VECTORS),
    _row("logsigmoid", "activation", lambda torch: torch.nn.LogSigmoid(), VECTORS),
    _row("tanh", "activation", lambda torch: torch.nn.Tanh(), VECTORS),
    _row("glu", "activation", lambda torch: torch.nn.GLU(), VECTORS),
    _row("softmax", "activation", lambda torch: torch.nn.Softmax(-1), VECTORS),
    _row("softmax_inner", "activation", lambda torch: torch.nn.Softmax(1), VECTORS),
    _row("softmin", "activation", lambda torch: torch.nn.Softmin(-1), VECTORS),
    _row("log_softmax", "activation", lambda torch: torch.nn.LogSoftmax(-1), VECTORS),
    _row("softmax_masked", "activation", lambda torch: lambda x, y: x.masked_fill(~y, -torch.inf).softmax(-1), VECTORS,
         flags("L", 16)),
)

_SPECIALS = (
    _row("erf", "special", lambda torch: torch.erf, VECTORS),
    _row("erfc", "special", lambda torch: torch.erfc, VECTORS),
    _row("erfinv", "special", lambda torch: torch.erfinv, between(-0.9, 0.9, "L", 16)),
    _row("lgamma", "special", lambda torch: torch.lgamma, between(0.2, 5, "L", 16)),
    _row("digamma", "special", lambda torch: torch.digamma, between(0.2, 5, "L", 16)),
    _row("polygamma", "special", lambda torch: lambda x: torch.polygamma(1, x), between(0.2, 5, "L", 16)),
    _row("gammainc", "special", lambda torch: torch.special.gammainc, between(0.2, 5, "L", 16),
         between(0.2, 5, "L", 16)),
    _row("bessel_i0", "special", lambda torch: torch.special.i0, VECTORS),
    _row("bessel_i1e", "special", lambda torch: torch.special.i1e, VECTORS),
    _row("bessel_j0", "special", lambda torch: torch.special.bessel_j0, between(0, 9, "L", 16)),
    _row("zeta", "special", lambda torch: torch.special.zeta, between(1.5, 5, "L", 16), between(0.5, 5, "L", 16)),
    _row("xlogy", "special", lambda torch: torch.xlogy, between(0, 2, "L", 16), between(0.1, 3, "L", 16)),
    _row("logit", "special", lambda torch: torch.logit, between(0.05, 0.95, "L", 16)),
    _row("sinc", "special", lambda torch: torch.sinc, VECTORS),
    _row("log_ndtr", "special", lambda torch: torch.special.log_ndtr, VECTORS),
    _row("entr", "special", lambda torch: torch.special.entr, between(0.05, 2, "L", 16)),
    _row("logaddexp", "special", lambda torch: torch.logaddexp, *PAIR),
)

_REDUCTIONS = (
    _row("sum", "reduction", lambda torch: lambda x: x.sum(1), VECTORS),
    _row("mean_keepdim", "reduction", lambda torch: lambda x: x.mean((0, 2), keepdim=True), VECTORS),
    _row("prod", "reduction", lambda torch: lambda x: x.prod(-1), between(0.7, 1.3, "L", 16)),
    _row("variance", "reduction", lambda torch: lambda x: (x.var(1), x.std(-1, correction=0)), VECTORS),
    _row("logsumexp", "reduction", lambda torch: lambda x: x.logsumexp(1), VECTORS),
    _row("norms", "reduction", lambda torch: lambda x: (x.norm(dim=-1), x.norm(1, dim=1), x.norm(3.0, dim=-1)),
         VECTORS),
    _row("amax_amin", "reduction", lambda torch: lambda x: (x.amax(1), x.amin((0, 2))), VECTORS),
    _row("max_dim", "reduction", lambda torch: lambda x: x.max(1), VECTORS),
    _row("argmax", "reduction", lambda torch: lambda x: (x.argmax(-1), x.argmin(1)), VECTORS),
    _row("any_all", "reduction", lambda torch: lambda x: ((x > 2).any(1), (x > -2).all(-1)), VECTORS),
    _row("count_nonzero", "reduction", lambda torch: lambda x: (x > 0).count_nonzero(1), VECTORS),
    _row("median", "reduction", lambda torch: lambda x: x.median(-1), VECTORS),
    _row("quantile", "reduction", lambda torch: lambda x: x.quantile(0.3, 1), VECTORS),
    _row("histc", "reduction", lambda torch: lambda x: torch.histc(x, 10, -2.0, 2.0), VECTORS),
    _row("covariance", "reduction", lambda torch: lambda x: torch.cov(x[0].mT), VECTORS),
)

_SCANS = (
    _row("cumsum", "scan", lambda torch: lambda x: x.cumsum(1), VECTORS),
    _row("cumprod", "scan", lambda torch: lambda x: x.cumprod(-1), between(0.7, 1.3, "L", 16)),
    _row("cummax", "scan", lambda torch: lambda x: x.cummax(1), VECTORS),
    _row("logcumsumexp", "scan", lambda torch: lambda x: x.logcumsumexp(1), VECTORS),
    _row("diff", "scan", lambda torch: lambda x: x.diff(dim=1), VECTORS),
    _row("trapezoid", "scan", lambda torch: lambda x: torch.trapezoid(x, dx=0.5, dim=1), VECTORS),
)

_NORMALISATIONS = (
    _row("layer_norm", "normalisation", lambda torch: torch.nn.LayerNorm(16), VECTORS),
    _row("layer_norm_two", "normalisation", lambda torch: torch.nn.LayerNorm((4, 8)), real("L", 4, 8)),
    _row("rms_norm", "normalisation", lambda torch: torch.nn.RMSNorm(16, eps=1e-6), VECTORS),
    _row("group_norm", "normalisation", lambda torch: torch.nn.GroupNorm(2, 8), PICTURE),
    _row("instance_norm", "normalisation", lambda torch: torch.nn.InstanceNorm2d(8, affine=True), PICTURE),
    _row("batch_norm1d", "normalisation", lambda torch: torch.nn.BatchNorm1d(8), SIGNAL),
    _row("batch_norm2d", "normalisation", lambda torch: torch.nn.BatchNorm2d(8), PICTURE),
    _row("batch_norm_batch", "normalisation", lambda torch: torch.nn.BatchNorm2d(8, track_running_stats=False),
         PICTURE),
    _row("local_response_norm", "normalisation", lambda torch: torch.nn.LocalResponseNorm(3, alpha=0.1), PICTURE),
    _row("normalize", "normalisation", lambda torch: lambda x: torch.nn.functional.normalize(x, dim=-1), VECTORS),
    _row("weight_norm", "normalisation",
         lambda torch: torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(16, 8)), VECTORS),
    _row("spectral_norm", "normalisation",
         lambda torch: torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(16, 8)), VECTORS),
)

_LINEARS = (
    _row("linear", "linear", lambda torch: torch.nn.Linear(16, 24), VECTORS),
    _row("linear_no_bias", "linear", lambda torch: torch.nn.Linear(16, 24, bias=False), VECTORS),
    _row("bilinear", "linear", lambda torch: torch.nn.Bilinear(16, 16, 5), *PAIR),
    _row("matmul", "linear", lambda torch: lambda x, y: x @ y.mT, *PAIR),
    _row("baddbmm", "linear", lambda torch: lambda x, y, z: torch.baddbmm(x, y, z, beta=0.5, alpha=2.0), real(6, 5),
         real(6, 16), real(16, 5)),
    _row("einsum", "linear", lambda torch: lambda x, y: torch.einsum("blhd,bmhd->bhlm", x, y), real("L", 2, 8),
         real("L", 2, 8)),
    _row("einsum_diagonal", "linear", lambda torch: lambda x, y: torch.einsum("bii,bij->bj", x, y), real(8, 8),
         real(8, 8)),
    _row("tensordot", "linear", lambda torch: lambda x, y: torch.tensordot(x, y, ([2], [0])), VECTORS,
         real(16, 3, batch=False)),
    _row("outer_kron", "linear", lambda torch: lambda x, y: (torch.outer(x, y), torch.kron(x, y)),
         real(7, batch=False), real(5, batch=False)),
    _row("cross", "linear", lambda torch: lambda x, y: torch.linalg.cross(x, y), real("L", 3), real("L", 3)),
)

_CONVOLUTIONS = (
    _row("conv1d", "convolution", lambda torch: torch.nn.Conv1d(8, 12, 3), SIGNAL),
    _row("conv1d_causal", "convolution",
         lambda torch: torch.nn.Sequential(torch.nn.ConstantPad1d((4, 0), 0.0), torch.nn.Conv1d(8, 8, 3, dilation=2)),
         SIGNAL),
    _row("conv2d", "convolution", lambda torch: torch.nn.Conv2d(8, 12, 3, padding=1), PICTURE),
    _row("conv2d_stride", "convolution", lambda torch: torch.nn.Conv2d(8, 12, (3, 5), stride=(2, 1), padding=(1, 2)),
         PICTURE),
    _row("conv2d_same", "convolution", lambda torch: torch.nn.Conv2d(8, 12, 4, padding="same"), PICTURE),
    _row("conv2d_dilated", "convolution", lambda torch: torch.nn.Conv2d(8, 12, 3, dilation=2), PICTURE),
    _row("conv2d_grouped", "convolution", lambda torch: torch.nn.Conv2d(8, 12, 3, groups=4), PICTURE),
    _row("conv2d_depthwise", "convolution", lambda torch: torch.nn.Conv2d(8, 16, 3, groups=8, padding=1), PICTURE),
    _row("conv2d_pointwise", "convolution", lambda torch: torch.nn.Conv2d(8, 12, 1, bias=False), PICTURE),
    _row("conv2d_reflect", "convolution", lambda torch: torch.nn.Conv2d(8, 12, 3, padding=1, padding_mode="reflect"),
         PICTURE),
    _row("conv2d_circular", "convolution", lambda torch: torch.nn.Conv2d(8, 12, 3, padding=1, padding_mode="circular"),
         PICTURE),
    _row("conv2d_replicate", "convolution",
         lambda torch: torch.nn.Conv2d(8, 12, 3, padding=1, padding_mode="replicate"), PICTURE),
    _row("conv_bn_relu", "convolution",
         lambda torch: torch.nn.Sequential(torch.nn.Conv2d(8, 12, 3), torch.nn.BatchNorm2d(12), torch.nn.ReLU()),
         PICTURE),
    _row("conv3d", "convolution", lambda torch: torch.nn.Conv3d(4, 6, 3, padding=1), VOLUME),
    _row("conv_transpose1d", "convolution", lambda torch: torch.nn.ConvTranspose1d(8, 6, 4, stride=2, padding=1),
         SIGNAL),
    _row("conv_transpose2d", "convolution",
         lambda torch: torch.nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1), PICTURE),
    _row("conv_transpose2d_grouped", "convolution",
         lambda torch: torch.nn.ConvTranspose2d(8, 8, 3, stride=2, groups=4, dilation=2), PICTURE),
)

_POOLINGS = (
    _row("max_pool1d", "pooling", lambda torch: torch.nn.MaxPool1d(3, 2), SIGNAL),
    _row("max_pool2d", "pooling", lambda torch: torch.nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), PICTURE),
    _row("max_pool2d_dilated", "pooling", lambda torch: torch.nn.MaxPool2d(2, 1, dilation=2), PICTURE),
    _row("max_pool2d_indices", "pooling", lambda torch: torch.nn.MaxPool2d(2, return_indices=True), PICTURE),
    _row("avg_pool1d", "pooling", lambda torch: torch.nn.AvgPool1d(3, 2), SIGNAL),
    _row("avg_pool2d", "pooling", lambda torch: torch.nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), PICTURE),
    _row("avg_pool2d_inside", "pooling", lambda torch: torch.nn.AvgPool2d(3, padding=1, count_include_pad=False),
         PICTURE),
    _row("avg_pool3d", "pooling", lambda torch: torch.nn.AvgPool3d(2), VOLUME),
    _row("lp_pool2d", "pooling", lambda torch: torch.nn.LPPool2d(3, 2), between(0.1, 2, 8, 12, 12)),
    _row("adaptive_avg_pool2d", "pooling", lambda torch: torch.nn.AdaptiveAvgPool2d((5, 4)), PICTURE),
    _row("adaptive_max_pool2d", "pooling", lambda torch: torch.nn.AdaptiveMaxPool2d((5, 4)), PICTURE),
    _row("global_avg_pool", "pooling", lambda torch: torch.nn.AdaptiveAvgPool2d(1), PICTURE),
    _row("max_unpool2d", "pooling",
         lambda torch: lambda x: torch.nn.functional.max_unpool2d(
             *torch.nn.functional.max_pool2d(x, 2, return_indices=True), 2),
         PICTURE),
)

_RECURRENTS = (
    _row("rnn_tanh", "recurrent", lambda torch: torch.nn.RNN(16, 24, batch_first=True), VECTORS),
    _row("rnn_relu", "recurrent", lambda torch: torch.nn.RNN(16, 12, nonlinearity="relu", batch_first=True), VECTORS),
    _row("lstm", "recurrent", lambda torch: torch.nn.LSTM(16, 24, batch_first=True), VECTORS),
    _row("lstm_two_ways", "recurrent", lambda torch: torch.nn.LSTM(16, 12, 2, batch_first=True, bidirectional=True),
         VECTORS),
    _row("lstm_projected", "recurrent", lambda torch: torch.nn.LSTM(16, 24, batch_first=True, proj_size=8), VECTORS),
    _row("gru", "recurrent", lambda torch: torch.nn.GRU(16, 24, batch_first=True), VECTORS),
    _row("gru_two_ways", "recurrent", lambda torch: torch.nn.GRU(16, 12, 2, batch_first=True, bidirectional=True),
         VECTORS),
    _row("gru_no_bias", "recurrent", lambda torch: torch.nn.GRU(16, 24, bias=False, batch_first=True), VECTORS),
    _row("lstm_cell", "recurrent", lambda torch: torch.nn.LSTMCell(16, 24), real(16)),
    _row("gru_cell", "recurrent", lambda torch: torch.nn.GRUCell(16, 24), real(16), real(24)),
)

_ATTENTIONS = (
    _row("sdpa", "attention", lambda torch: torch.nn.functional.scaled_dot_product_attention, real(4, "L", 8),
         real(4, "L", 8), real(4, "L", 8)),
    _row("sdpa_causal", "attention",
         lambda torch: partial(torch.nn.functional.scaled_dot_product_attention, is_causal=True), real(4, "L", 8),
         real(4, "L", 8), real(4, "L", 8)),
    _row("sdpa_masked", "attention", lambda torch: torch.nn.functional.scaled_dot_product_attention,
         real(4, "L", 8), real(4, 10, 8), real(4, 10, 8), flags(1, "L", 10)),
    _row("sdpa_grouped", "attention",
         lambda torch: partial(torch.nn.functional.scaled_dot_product_attention, enable_gqa=True, scale=0.5),
         real(4, "L", 8), real(2, "L", 8), real(2, "L", 8)),
    _row("multihead_attention", "attention", lambda torch: torch.nn.MultiheadAttention(16, 4, batch_first=True),
         VECTORS, VECTORS, VECTORS, padded("L")),
    _row("multihead_cross", "attention",
         lambda torch: torch.nn.MultiheadAttention(16, 4, kdim=12, vdim=10, add_bias_kv=True, batch_first=True),
         VECTORS, real(9, 12), real(9, 10)),
    _row("encoder_layer", "attention", lambda torch: torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True),
         VECTORS),
    _row("encoder_layer_pre_norm", "attention",
         lambda torch: torch.nn.TransformerEncoderLayer(16, 4, 32, activation="gelu", batch_first=True,
                                                        norm_first=True), VECTORS),
    _row("encoder_layer_padded", "attention",
         lambda torch: _padded_layer(torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)), VECTORS,
         padded("L")),
    _row("encoder_nested", "attention",
         lambda torch: _padded_layer(torch.nn.TransformerEncoder(
             torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2)), VECTORS, padded("L")),
    _row("decoder_layer", "attention", lambda torch: torch.nn.TransformerDecoderLayer(16, 4, 32, batch_first=True),
         VECTORS, real(9, 16)),
)

_EMBEDDINGS = (
    _row("embedding", "embedding", lambda torch: torch.nn.Embedding(WORDS, 16), index(WORDS, "L")),
    _row("embedding_padded", "embedding", lambda torch: torch.nn.Embedding(WORDS, 16, padding_idx=0),
         index(WORDS, "L")),
    _row("embedding_bag_mean", "embedding", lambda torch: torch.nn.EmbeddingBag(WORDS, 16), index(WORDS, "L")),
    _row("embedding_bag_max", "embedding", lambda torch: torch.nn.EmbeddingBag(WORDS, 16, mode="max"),
         index(WORDS, "L")),
    _row("embedding_bag_sum", "embedding", lambda torch: _weighted(torch.nn.EmbeddingBag(WORDS, 16, mode="sum")),
         index(WORDS, "L"), between(0, 1, "L")),
    _row("one_hot", "embedding", lambda torch: lambda x: torch.nn.functional.one_hot(x, WORDS), index(WORDS, "L")),
    _row("cosine_similarity", "embedding", lambda torch: torch.nn.CosineSimilarity(-1), *PAIR),
    _row("pairwise_distance", "embedding", lambda torch: torch.nn.PairwiseDistance(), real(16), real(16)),
    _row("cdist", "embedding", lambda torch: torch.cdist, VECTORS, real(7, 16)),
    _row("cdist_manhattan", "embedding", lambda torch: lambda x, y: torch.cdist(x, y, 1.0), VECTORS, real(7, 16)),
)

_INDEXINGS = (
    _row("gather", "indexing", lambda torch: lambda x, y: x.gather(1, y), real(12, 16), index(12, "L", 16)),
    _row("scatter", "indexing", lambda torch: lambda x, y, z: x.scatter(1, y.argsort(1)[:, :5], z), real(12, 4),
         real(12, 4), real(12, 4)),
    _row("scatter_add", "indexing", lambda torch: lambda x, y, z: x.scatter_add(1, y, z), real(12, 4),
         index(12, "L", 4), real("L", 4)),
    _row("scatter_reduce", "indexing", lambda torch: lambda x, y, z: x.scatter_reduce(1, y, z, "amax"), real(12, 4),
         index(12, "L", 4), real("L", 4)),
    _row("index_select", "indexing", lambda torch: lambda x, y: x.index_select(1, y), real(12, 16),
         index(12, 5, batch=False)),
    _row("index_add", "indexing", lambda torch: lambda x, y, z: x.index_add(1, y, z, alpha=0.5), real(12, 4),
         index(12, 6, batch=False), real(6, 4)),
    _row("index_copy", "indexing", lambda torch: lambda x, y, z: x.index_copy(1, y, z), real(12, 4), order(12),
         real(12, 4)),
    _row("index_put", "indexing", lambda torch: lambda x, y, z: x.index_put((y, z), torch.ones(()).to(x)),
         real(12, 4), index(1, 6, batch=False), index(12, 6, batch=False)),
    _row("advanced_indexing", "indexing", lambda torch: lambda x, y: x[:, y, None], real(12, 4),
         index(12, 3, 5, low=-12, batch=False)),
    _row("take_along_dim", "indexing", lambda torch: lambda x: x.take_along_dim(x.argsort(1), 1), VECTORS),
    _row("topk", "indexing", lambda torch: lambda x: x.topk(5), VECTORS),
    _row("topk_smallest", "indexing", lambda torch: lambda x: x.topk(3, 1, largest=False), VECTORS),
    _row("sort", "indexing", lambda torch: lambda x: x.sort(1, descending=True), VECTORS),
    _row("sort_stable", "indexing", lambda torch: lambda x: x.sort(stable=True, dim=1), index(5, "L")),
    _row("argsort", "indexing", lambda torch: lambda x: x.argsort(-1), VECTORS),
    _row("kthvalue", "indexing", lambda torch: lambda x: x.kthvalue(3), VECTORS),
    _row("searchsorted", "indexing", lambda torch: lambda x, y: torch.searchsorted(x.cumsum(-1), y),
         between(0.1, 1, 12), between(0, 5, "L")),
    _row("bucketize", "indexing", lambda torch: lambda x, y: torch.bucketize(x, y.sort().values), VECTORS,
         real(6, batch=False)),
    _row("masked_select", "indexing", lambda torch: torch.masked_select, VECTORS, flags("L", 16)),
    _row("masked_scatter", "indexing", lambda torch: torch.masked_scatter, VECTORS, flags("L", 16), VECTORS),
    _row("nonzero", "indexing", lambda torch: lambda x: (x > 0.5).nonzero(), VECTORS),
    _row("unique", "indexing", lambda torch: lambda x: torch.unique(x, return_counts=True), index(9, "L")),
    _row("bincount", "indexing", lambda torch: lambda x: torch.bincount(x.flatten(), minlength=9), index(9, "L")),
)

_SHAPES = (
    _row("concatenate", "shape", lambda torch: lambda x, y: torch.cat([x, y], 1), *PAIR),
    _row("stack", "shape", lambda torch: lambda x, y: torch.stack([x, y], 2), *PAIR),
    _row("split_chunk", "shape", lambda torch: lambda x: (*x.split([3, 13], -1), *x.chunk(3, -1)), VECTORS),
    _row("permute_reshape", "shape", lambda torch: lambda x: x.permute(2, 0, 1).reshape(4, 4, -1), VECTORS),
    _row("flatten_unflatten", "shape", lambda torch: lambda x: x.flatten(1).unflatten(1, (-1, 8)), VECTORS),
    _row("expand_repeat", "shape", lambda torch: lambda x: (x[:, :1].expand(-1, 5, -1), x.repeat(1, 2, 3)), VECTORS),
    _row("repeat_interleave", "shape", lambda torch: lambda x: x.repeat_interleave(3, 1), VECTORS),
    _row("roll", "shape", lambda torch: lambda x: x.roll((2, -3), (1, 2)), VECTORS),
    _row("flip_rot90", "shape", lambda torch: lambda x: (x.flip(1, 2), x.rot90(1, (1, 2))), VECTORS),
    _row("tril_triu", "shape", lambda torch: lambda x: (x.tril(-1), x.triu(2)), VECTORS),
    _row("diagonal_embed", "shape", lambda torch: lambda x: (x.diagonal(1, 1, 2), x[:, 0].diag_embed()), VECTORS),
    _row("strided_slice", "shape", lambda torch: lambda x: x[:, 1::2, ..., -5:-1], VECTORS),
    _row("slice_assign", "shape", lambda torch: lambda x, y: x.slice_scatter(y, 1, 2, 7), real(12, 4), real(5, 4)),
    _row("pad_constant", "shape", lambda torch: lambda x: torch.nn.functional.pad(x, (1, 2, 3, -1), value=0.5),
         VECTORS),
    _row("pad_reflect", "shape", lambda torch: torch.nn.ReflectionPad2d((1, 2, 3, 0)), PICTURE),
    _row("pad_circular", "shape", lambda torch: torch.nn.CircularPad2d(2), PICTURE),
    _row("unfold", "shape", lambda torch: torch.nn.Unfold(3, dilation=2, padding=1, stride=2), PICTURE),
    _row("fold", "shape", lambda torch: torch.nn.Fold((8, 8), 3, padding=1), real(36, 64)),
    _row("tensor_unfold", "shape", lambda torch: lambda x: x.unfold(1, 4, 2), VECTORS),
    _row("meshgrid", "shape", lambda torch: lambda x, y: torch.stack(torch.meshgrid(x, y, indexing="ij")),
         real(5, batch=False), real(7, batch=False)),
    _row("arange_positions", "shape", lambda torch: lambda x: x + torch.arange(x.shape[1], device=x.device)[:, None],
         VECTORS),
)

_ALGEBRA = (
    _row("inverse", "linear_algebra", lambda torch: torch.linalg.inv, regular(8)),
    _row("solve", "linear_algebra", lambda torch: torch.linalg.solve, regular(8), real(8, 3)),
    _row("solve_triangular", "linear_algebra", lambda torch: partial(torch.linalg.solve_triangular, upper=False),
         regular(8, lower=True), real(8, 3)),
    _row("cholesky", "linear_algebra", lambda torch: torch.linalg.cholesky, regular(8, symmetric=True)),
    _row("cholesky_solve", "linear_algebra",
         lambda torch: lambda x, y: torch.cholesky_solve(y, torch.linalg.cholesky(x)), regular(8, symmetric=True),
         real(8, 3)),
    _row("qr", "linear_algebra", lambda torch: torch.linalg.qr, regular(8)),
    _row("lu", "linear_algebra", lambda torch: torch.linalg.lu, regular(8)),
    _row("determinant", "linear_algebra", lambda torch: torch.linalg.det, regular(4)),
    _row("singular_values", "linear_algebra", lambda torch: torch.linalg.svdvals, real(8, 5)),
    _row("eigenvalues", "linear_algebra", lambda torch: torch.linalg.eigvalsh, regular(8, symmetric=True)),
    _row("pseudo_inverse", "linear_algebra", lambda torch: torch.linalg.pinv, real(8, 5)),
    _row("matrix_exp", "linear_algebra", lambda torch: lambda x: torch.linalg.matrix_exp(x / 4), real(6, 6)),
    _row("matrix_power", "linear_algebra", lambda torch: lambda x: torch.linalg.matrix_power(x / 4, 5), real(6, 6)),
    _row("trace_norm", "linear_algebra", lambda torch: lambda x: (x[0].trace(), torch.linalg.matrix_norm(x)),
         real(6, 6)),
)

_FFTS = (
    _row("fft", "fft", lambda torch: torch.fft.fft, real("L")),
    _row("rfft", "fft", lambda torch: lambda x: torch.view_as_real(torch.fft.rfft(x)), real("L")),
    _row("irfft", "fft", lambda torch: lambda x: torch.fft.irfft(torch.view_as_complex(x), n=16), real(9, 2)),
    _row("fft2_real", "fft", lambda torch: lambda x: torch.fft.fft2(x).real, PICTURE),
    _row("fft_shift", "fft", lambda torch: lambda x: torch.fft.fftshift(torch.fft.fft(x)).abs(), real("L")),
    _row("fft_convolution", "fft",
         lambda torch: lambda x, y: torch.fft.irfft(torch.fft.rfft(x, 64) * torch.fft.rfft(y, 64), 64), real(24),
         real(24)),
    _row("stft", "fft",
         lambda torch: lambda x: torch.view_as_real(torch.stft(x, 16, 4, window=torch.hann_window(16).to(x),
                                                               return_complex=True)), real(64)),
    _row("complex_multiply", "fft", lambda torch: lambda x, y: torch.view_as_real(
        torch.view_as_complex(x) * torch.view_as_complex(y)), real("L", 2), real("L", 2)),
)

_LOSSES = (
    _row("mse_loss", "loss", lambda torch: torch.nn.MSELoss(), *PAIR),
    _row("l1_loss", "loss", lambda torch: torch.nn.L1Loss(reduction="sum"), *PAIR),
    _row("smooth_l1_loss", "loss", lambda torch: torch.nn.SmoothL1Loss(beta=0.5), *PAIR),
    _row("huber_loss", "loss", lambda torch: torch.nn.HuberLoss(delta=0.7), *PAIR),
    _row("cross_entropy", "loss", lambda torch: torch.nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=0),
         real(16, "L"), index(16, "L")),
    _row("cross_entropy_soft", "loss", lambda torch: lambda x, y: torch.nn.functional.cross_entropy(x, y.softmax(1)),
         real(16), real(16)),
    _row("nll_loss", "loss", lambda torch: lambda x, y: torch.nn.functional.nll_loss(x.log_softmax(1), y), real(16),
         index(16)),
    _row("bce_with_logits", "loss", lambda torch: torch.nn.BCEWithLogitsLoss(), VECTORS, between(0, 1, "L", 16)),
    _row("kl_div", "loss",
         lambda torch: lambda x, y: torch.nn.functional.kl_div(x.log_softmax(-1), y.softmax(-1), reduction="batchmean"),
         *PAIR),
    _row("poisson_nll_loss", "loss", lambda torch: torch.nn.PoissonNLLLoss(full=True), VECTORS, between(0, 5, "L", 16)),
    _row("gaussian_nll_loss", "loss", lambda torch: torch.nn.GaussianNLLLoss(), *PAIR, between(0.5, 2, "L", 16)),
    _row("hinge_embedding_loss", "loss",
         lambda torch: lambda x, y: torch.nn.functional.hinge_embedding_loss(x, y.sign()), *PAIR),
    _row("margin_ranking_loss", "loss", lambda torch: lambda x, y, z: torch.nn.functional.margin_ranking_loss(
        x, y, z.sign(), margin=0.3), real(16), real(16), real(16)),
    _row("multi_margin_loss", "loss", lambda torch: torch.nn.MultiMarginLoss(), real(16), index(16)),
    _row("triplet_loss", "loss", lambda torch: torch.nn.TripletMarginLoss(), real(16), real(16), real(16)),
    _row("cosine_embedding_loss", "loss", lambda torch: lambda x, y, z: torch.nn.functional.cosine_embedding_loss(
        x, y, z.sign()), real(16), real(16), real()),
    _row("ctc_loss", "loss", lambda torch: lambda x, y: torch.nn.functional.ctc_loss(
        x.log_softmax(-1).transpose(0, 1), y, [20] * len(y), [4] * len(y)), real(20, 10), index(10, 4, low=1)),
)

_VISION = (
    _row("interpolate_nearest", "vision", lambda torch: torch.nn.Upsample(scale_factor=2), PICTURE),
    _row("interpolate_nearest_exact", "vision", lambda torch: torch.nn.Upsample((17, 9), mode="nearest-exact"),
         PICTURE),
    _row("interpolate_bilinear", "vision", lambda torch: torch.nn.Upsample((17, 9), mode="bilinear"), PICTURE),
    _row("interpolate_corners", "vision", lambda torch: torch.nn.Upsample((17, 9), mode="bilinear", align_corners=True),
         PICTURE),
    _row("interpolate_bicubic", "vision", lambda torch: torch.nn.Upsample((17, 9), mode="bicubic"), PICTURE),
    _row("interpolate_antialias", "vision", lambda torch: partial(
        torch.nn.functional.interpolate, size=(5, 7), mode="bilinear", antialias=True), PICTURE),
    _row("interpolate_area", "vision", lambda torch: partial(
        torch.nn.functional.interpolate, size=(5, 7), mode="area"), PICTURE),
    _row("interpolate_linear", "vision", lambda torch: torch.nn.Upsample(40, mode="linear"), SIGNAL),
    _row("interpolate_trilinear", "vision", lambda torch: torch.nn.Upsample(scale_factor=2, mode="trilinear"), VOLUME),
    _row("grid_sample", "vision", lambda torch: partial(torch.nn.functional.grid_sample, align_corners=False), PICTURE,
         between(-1.2, 1.2, 9, 7, 2)),
    _row("grid_sample_border", "vision", lambda torch: partial(
        torch.nn.functional.grid_sample, padding_mode="border", align_corners=True), PICTURE,
        between(-1.2, 1.2, 9, 7, 2)),
    _row("grid_sample_bicubic", "vision", lambda torch: partial(
        torch.nn.functional.grid_sample, mode="bicubic", padding_mode="reflection", align_corners=False), PICTURE,
        between(-1.2, 1.2, 9, 7, 2)),
    _row("affine_grid", "vision", lambda torch: lambda x: torch.nn.functional.affine_grid(
        x, [len(x), 3, 9, 7], align_corners=False), real(2, 3)),
    _row("pixel_shuffle", "vision", lambda torch: torch.nn.PixelShuffle(2), PICTURE),
    _row("pixel_unshuffle", "vision", lambda torch: torch.nn.PixelUnshuffle(3), PICTURE),
    _row("channel_shuffle", "vision", lambda torch: torch.nn.ChannelShuffle(4), PICTURE),
)
# fmt: on


def _padded_layer(layer: nn.Module) -> nn.Module:
    """Return ``layer`` as a module whose second input is the mask of padding."""
    return _named(layer, "src_key_padding_mask")


def _weighted(bag: nn.Module) -> nn.Module:
    """Return ``bag`` as a module whose second input is the weights of the words."""
    return _named(bag, "per_sample_weights")


def _named(layer: nn.Module, second: str) -> nn.Module:
    import torch

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor, y: Tensor) -> Any:
            return self.layer(x, **{second: y})

    return Named()


OPERATORS: dict[str, Operator] = {
    row.name: row
    for row in (
        *_ELEMENTWISE,
        *_ACTIVATIONS,
        *_SPECIALS,
        *_REDUCTIONS,
        *_SCANS,
        *_NORMALISATIONS,
        *_LINEARS,
        *_CONVOLUTIONS,
        *_POOLINGS,
        *_RECURRENTS,
        *_ATTENTIONS,
        *_EMBEDDINGS,
        *_INDEXINGS,
        *_SHAPES,
        *_ALGEBRA,
        *_FFTS,
        *_LOSSES,
        *_VISION,
    )
}

__getattr__ = attributes(OPERATORS, __name__)
