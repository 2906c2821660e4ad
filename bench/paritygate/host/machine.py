"""Facts of the machine: processor, threads, quota, memory, load, versions. Imports no torch."""

from __future__ import annotations

import math
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch",
    "transformers",
    "onnxruntime-gpu",
    "onnxruntime",
    "onnx",
    "onnxscript",
    "numpy",
    "pandas",
    "pytest",
    "pytest-benchmark",
    "paritygate",
)


def affinity() -> int:
    """Return the number of processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quota() -> float | None:
    """Return the cgroup's processor quota in processors (cgroup v2, then v1), or None if there is
    none.
    """
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit_us = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text())
        return (
            None
            if limit_us <= 0
            else limit_us / int(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text())
        )
    except (OSError, ValueError):
        return None


def threads() -> int:
    """Return the number of threads of a measuring process: the affinity, limited by the quota.
    ``os.cpu_count()`` is never used.
    """
    limit = quota()
    return max(1, affinity() if limit is None else min(affinity(), math.floor(limit)))


def available_memory() -> int | None:
    """Return the bytes that can still be allocated: MemAvailable, limited by the cgroup's rest;
    None where unknown.
    """
    limits = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        limits += [
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")
        ]
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            limits.append(int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return min(limits) if limits else None


def oom_kills() -> int:
    """Return how many processes the kernel has killed for lack of memory so far, in this cgroup or
    else on this machine.
    """
    for path, key in (("/sys/fs/cgroup/memory.events", "oom_kill"), ("/proc/vmstat", "oom_kill")):
        try:
            for line in Path(path).read_text().splitlines():
                if line.split()[0] == key:
                    return int(line.split()[1])
        except (OSError, ValueError, IndexError):
            continue
    return 0


def processor_times() -> tuple[int, int]:
    """Return (stolen, all) jiffies of all processors since boot; (0, 0) where unknown."""
    try:
        fields = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0, 0
    return fields[7], sum(fields)


def steal(before: tuple[int, int], after: tuple[int, int]) -> float:
    """Return the share of processor time that the hypervisor gave to others between two
    ``processor_times()``.
    """
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def throttles() -> int:
    """Return how often the processors' clocks were cut for heat so far; 0 where the kernel does not
    report it.
    """
    counts = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    return sum(
        int(count) for path in counts if (count := _text(str(path))) is not None and count.isdigit()
    )


def busy_time() -> int:
    """Return the jiffies that all processors have been busy since boot; 0 where unknown."""
    try:
        fields = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0
    return sum(fields) - fields[3] - fields[4] - fields[7]  # less idle, waiting for disks, stolen


def process_time(pid: int | str) -> int:
    """Return the jiffies that a process and its ended children have used; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(n) for n in fields[11:15])


def load() -> float | None:
    """Return the one-minute load average, or None where unknown."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def facts() -> dict[str, Any]:
    """Return everything about machine and versions that a later comparison needs, as a flat
    dict.
    """
    return {
        "cpu": _cpu_model(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "affinity": affinity(),
        "quota": quota(),
        "threads": threads(),
        "memory_bytes": _total_memory(),
        "system": platform.system(),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "python_implementation": sys.implementation.name,
        "huge_pages": _selected("/sys/kernel/mm/transparent_hugepage/enabled"),
        "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "turbo": _turbo(),
        "virtual": _virtual(),
    } | {
        f"version_{name.replace('-', '_')}": number
        for name in PACKAGES
        if (number := _version(name))
    }


def _text(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _selected(path: str) -> str | None:
    """Return the bracketed word of a kernel setting such as ``always [madvise] never``."""
    text = _text(path)
    return text.split("[")[-1].split("]")[0] if text else None


def _cpu_model() -> str:
    for line in (_text("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _total_memory() -> int | None:
    for line in (_text("/proc/meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def _turbo() -> bool | None:
    no_turbo = _text("/sys/devices/system/cpu/intel_pstate/no_turbo")
    boost = _text("/sys/devices/system/cpu/cpufreq/boost")
    if no_turbo is not None:
        return no_turbo == "0"
    return None if boost is None else boost == "1"


def _virtual() -> bool:
    return " hypervisor" in (_text("/proc/cpuinfo") or "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
