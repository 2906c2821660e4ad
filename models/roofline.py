"""The largest work of one kind, which measures the attainable speed of a machine: the roofline of
all cells.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Gemm(nn.Module):
    """A matrix product, as fast as the device computes in the inputs' dtype."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Map (n, n) and (n, n) to the first 64 rows of their product (n, n). All rows are
        computed; checking a part is enough.
        """
        return (one @ other)[:64]


class Copy(nn.Module):
    """A copy into memory of its own, as fast as the device moves bytes.

    It does not use ``clone``: on a CPU the kernel supplies fresh memory page by page, which takes
    longer than the copy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.own: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map X to a copy, in memory that the next call overwrites."""
        if self.own is None:
            self.own = torch.empty_like(x)
        return self.own.copy_(x)


def squares(sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return two standard normal matrices (n, n)."""
    size = sizes["n"]
    return torch.randn(size, size, generator=generator), torch.randn(
        size, size, generator=generator
    )


def integers(sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor]:
    """Return random int64, one row for each MiB. No cast changes their size, and a copy of them is
    either right or wrong.
    """
    return (torch.randint(1 << 62, (sizes["mib"], 1 << 17), generator=generator),)
