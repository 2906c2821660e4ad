"""How a file of a cache may be damaged."""

from __future__ import annotations


def empty(content: bytes) -> bytes:
    return b""


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """Another bit in the middle: of a number, a letter, an instruction."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = (empty, truncated, flipped)
