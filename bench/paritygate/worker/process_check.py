"""Read which laboratory conditions a measuring process really got. A worker reads them, the doctor
shows them.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

GIB = 1 << 30


def found() -> dict[str, Any]:
    """Return how glibc and the kernel behave in this process.

    ``kept_by_malloc``: a freed GiB stays with the process (an older glibc ignores thresholds above
    32 MiB). ``huge_pages``: bytes of a fresh 64 MiB tensor that lie on huge pages.
    """
    if sys.platform != "linux":
        return {"kept_by_malloc": None, "huge_pages": None}
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    block = libc.malloc(ctypes.c_size_t(GIB))
    mapped = _mallinfo2(libc).get("hblkhd")
    libc.free(block)
    before = _anonymous_huge()
    tensor = torch.ones(64 << 18)  # 64 MiB of float32
    huge = _anonymous_huge() - before
    del tensor
    return {"kept_by_malloc": None if mapped is None else mapped < GIB, "huge_pages": max(0, huge)}


def _mallinfo2(libc: ctypes.CDLL) -> dict[str, int]:
    """Return glibc's own account of its heap (mallinfo2(3), glibc 2.33), or nothing without that
    function.
    """
    names = [
        "arena",
        "ordblks",
        "smblks",
        "hblks",
        "hblkhd",
        "usmblks",
        "fsmblks",
        "uordblks",
        "fordblks",
        "keepcost",
    ]

    class Info(ctypes.Structure):
        _fields_ = [(name, ctypes.c_size_t) for name in names]

    try:
        libc.mallinfo2.restype = Info
        info = libc.mallinfo2()
    except AttributeError:
        return {}
    return {name: getattr(info, name) for name in names}


def _anonymous_huge() -> int:
    with suppress(OSError):  # gVisor has no such file
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
            if line.startswith("AnonHugePages:"):
                return int(line.split()[1]) * 1024
    return 0
