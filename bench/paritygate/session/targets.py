"""Targets of a run: devices present x backends x dtypes, reduced by ``--bench-targets``.

Grammar: a comma list of terms; the result is their union. A term with a dash is a glob over
``device-backend-dtype``. A term without a dash names a device, a backend or a dtype; the other two
fields take their defaults. ``present`` stands for the default: every device that is here, the
default backends, fp32. Imports no torch.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from paritygate.backends import Backend
from paritygate.core.case import Target
from paritygate.core.devices import DEVICE_KINDS
from paritygate.host import nvml

DRIVER = Path("/proc/driver/nvidia/gpus")  # exists if the driver's kernel module is loaded


class TargetError(ValueError):
    """Raised when a term of ``--bench-targets`` matches nothing. The message lists the valid
    values.
    """


def absent(device: str) -> str | None:
    """Return why a device cannot be measured here, or None. It asks the driver and never imports
    torch. A new kind of device needs a branch of its own.
    """
    if device == "cpu":
        return None
    if device != "cuda":
        return f"no device (session/targets.py does not know how to look for {device})"
    present = nvml.gpus()
    if present is None and DRIVER.is_dir():
        return "no device (an NVIDIA driver without libnvidia-ml; NVIDIA_DRIVER_CAPABILITIES=compute,utility brings it)"
    if present is None:
        return "no device (no NVIDIA driver)"
    if not present:
        return "no device (the NVIDIA driver reports none)"
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not (devices := nvml.visible(os.environ)):
        if shown is None:
            return f"no device (MIG divides all {len(present)} into no instance)"
        return f"no device (CUDA_VISIBLE_DEVICES={shown} hides all {len(present)})"
    version, cuda = torch_build()
    if cuda is None:
        return f"{len(devices)} present, but torch here is a CPU build ({version}); install the CUDA build"
    with suppress(nvml.GpuLostError):
        driver = devices[0].cuda_driver()
        # an older driver of the same major version is enough
        if driver is not None and _major(driver) < _major(cuda):
            return (
                f"{len(devices)} present, but the driver runs CUDA {driver} and torch here ({version}) is built for "
                f"{cuda}; update the driver, or install the torch for CUDA {_major(driver)}"
            )
    return None


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def gpu() -> dict[str, Any]:
    """Return facts of the GPU that is measured on: the first one that CUDA shows. Without cuda,
    return nothing.
    """
    cards = nvml.visible(os.environ) if absent("cuda") is None else []
    with suppress(nvml.GpuLostError):
        return (
            {"gpu": cards[0].name, "gpu_driver": cards[0].facts()["driver"], "gpus": len(cards)}
            if cards
            else {}
        )
    return {}


def torch_build() -> tuple[str, str | None]:
    """Return (version, CUDA's version or None) of the installed torch, from the text of its
    version.py.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return "not installed", None
    text = Path(spec.origin).with_name("version.py").read_text()
    said = {
        name: ast.literal_eval(value)
        for name, value in re.findall(
            r"^(__version__|cuda)\b[^=\n]*=\s*(None|'[^']*'|\"[^\"]*\")", text, re.MULTILINE
        )
    }
    return said.get("__version__", "unknown"), said.get("cuda")


def universe(backends: Iterable[Backend]) -> list[Target]:
    """Return every possible target, in the order of the tables: device, dtype, backend."""
    names = [backend.name for backend in backends]
    return [
        Target(device, backend, dtype)
        for device, kind in DEVICE_KINDS.items()
        for dtype in kind.dtypes
        for backend in names
    ]


def select(terms: str, backends: Mapping[str, Backend]) -> list[Target]:
    """Return the targets that ``--bench-targets`` names, in the order of ``universe``.

    An absent device is included only if a term names it; its cells are then skipped with the
    reason. Raises ``TargetError`` for a term that matches nothing.
    """
    every = universe(backends.values())
    present = [device for device in DEVICE_KINDS if absent(device) is None]
    chosen: set[Target] = set()
    for term in (term.strip() for term in terms.split(",")):
        found = _matching(term, every, present, backends)
        if not found:
            raise TargetError(
                f"--bench-targets: {term!r} names no target; devices: {', '.join(DEVICE_KINDS)}; backends: "
                f"{', '.join(backends)}; dtypes: {', '.join(dict.fromkeys(t.dtype for t in every))}; or a glob "
                'such as "cpu-compile*-fp32"'
            )
        chosen.update(found)
    return [target for target in every if target in chosen]


def _matching(
    term: str, every: list[Target], present: list[str], backends: Mapping[str, Backend]
) -> list[Target]:
    if "-" in term:
        return [target for target in every if target.matches(term)]

    def wanted(target: Target) -> bool:
        """Return whether a target matches. The named field is free; the other two keep their
        defaults.
        """
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
    """Return why the target cannot work here, as far as is known without torch, or None."""
    reason = absent(target.device)
    if reason is not None:
        return f"{target.device}: {reason}"
    module = importlib.import_module(backends[target.backend].module)
    found: str | None = module.available(target)
    return found
