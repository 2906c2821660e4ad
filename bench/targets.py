"""Which targets a run has: devices present x backends x dtypes, as ``--bench-targets`` narrows them.

Grammar: a comma list of terms, united. A term with a dash is a glob over ``device-backend-dtype``; one
without names a device, a backend or a dtype, the other two fields take their defaults. ``present`` stands
for the default: every device that is here, the default backends, fp32. Imports no torch.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from bench.backends import Backend
from bench.case import Target

DEVICE_DTYPES = {
    "cpu": ("fp32", "bf16", "fp16", "amp_bf16"),
    "cuda": ("fp32", "tf32", "fp16", "bf16", "amp_fp16", "amp_bf16"),
}


class TargetError(ValueError):
    """A term of ``--bench-targets`` that matches nothing; the message lists what there is."""


def absent(device: str) -> str | None:
    """Why a device cannot be measured here, or None. Asks the driver, not torch: torch is never imported here."""
    if device == "cpu":
        return None
    count = _nvidia_devices()
    if count is None:
        return "no device (no NVIDIA driver)"
    if count == 0:
        return "no device (the NVIDIA driver reports none)"
    return f"{count} present, but this version measures CPUs only"


def _nvidia_devices() -> int | None:
    """The number of NVIDIA devices by NVML, else by /proc; None without a driver."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        count = ctypes.c_uint()
        if nvml.nvmlInit_v2() == 0 and nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0:
            return int(count.value)
    except (OSError, AttributeError):
        pass
    folder = Path("/proc/driver/nvidia/gpus")
    return len(list(folder.iterdir())) if folder.is_dir() else None


def universe(backends: Iterable[Backend]) -> list[Target]:
    """Every target there could be, in the order of the tables: device, dtype, backend."""
    names = [backend.name for backend in backends]
    return [
        Target(device, backend, dtype)
        for device, dtypes in DEVICE_DTYPES.items()
        for dtype in dtypes
        for backend in names
    ]


def select(terms: str, backends: Mapping[str, Backend]) -> list[Target]:
    """The targets that ``--bench-targets`` names, in the order of ``universe``.

    Raises ``TargetError`` for a term that names nothing. A device that is absent is included only where a
    term names it; its cells are then skipped with the reason.
    """
    every = universe(backends.values())
    present = [device for device in DEVICE_DTYPES if absent(device) is None]
    chosen: set[Target] = set()
    for term in (term.strip() for term in terms.split(",")):
        found = _matching(term, every, present, backends)
        if not found:
            raise TargetError(
                f"--bench-targets: {term!r} names no target; devices: {', '.join(DEVICE_DTYPES)}; backends: "
                f"{', '.join(backends)}; dtypes: {', '.join(dict.fromkeys(t.dtype for t in every))}; or a glob "
                'such as "cpu-compile*-fp32"'
            )
        chosen.update(found)
    return [target for target in every if target in chosen]


def _matching(term: str, every: list[Target], present: list[str], backends: Mapping[str, Backend]) -> list[Target]:
    if "-" in term:
        return [target for target in every if target.matches(term)]

    def wanted(target: Target) -> bool:
        """The field that the term names is free, the two others stay with their defaults."""
        here, usual, plain = (
            target.device in present,
            backends[target.backend].default,
            target.dtype == "fp32",
        )
        return (
            (term == "present" and here and usual and plain)
            or (fnmatchcase(target.device, term) and usual and plain)
            or (fnmatchcase(target.backend, term) and here and plain)
            or (fnmatchcase(target.dtype, term) and here and usual)
        )

    return [target for target in every if wanted(target)]


def unavailable(target: Target, backends: Mapping[str, Backend]) -> str | None:
    """Why the target cannot work here, as far as can be told without torch; None if it may."""
    reason = absent(target.device)
    if reason is not None:
        return f"{target.device}: {reason}"
    module = importlib.import_module(backends[target.backend].module)
    found: str | None = module.available(target)
    return found
