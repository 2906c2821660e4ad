"""What a machine attains: the largest work of one kind, for the roofline that all cells are held
against.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Gemm(nn.Module):
    """A matrix product, as fast as the device computes in the inputs' dtype."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """(n, n) and (n, n) to the first 64 rows of (n, n): all is computed, a part is enough to be
        checked.
        """
        return (one @ other)[:64]


class Copy(nn.Module):
    """A copy into memory of its own, as fast as the device moves bytes.

    Not a ``clone``: on a CPU fresh memory comes page by page from the kernel, which takes longer
    than the copy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.own: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """X to the same, in memory that the next call overwrites."""
        if self.own is None:
            self.own = torch.empty_like(x)
        return self.own.copy_(x)


def squares(sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two standard normal matrices (n, n)."""
    size = sizes["n"]
    return torch.randn(size, size, generator=generator), torch.randn(
        size, size, generator=generator
    )


def integers(sizes: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor]:
    """Random int64, a row for each MiB: no cast changes their size, and a copy of them is right or
    wrong.
    """
    return (torch.randint(1 << 62, (sizes["mib"], 1 << 17), generator=generator),)
