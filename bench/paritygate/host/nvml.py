"""NVIDIA GPUs as their management library (NVML) sees them: names, clocks, energy, heat, and who
else is there.

Reads and never changes a setting of a card; makes no CUDA context and imports no torch. What a card
does not tell is None, each value for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

# nvml.h, group nvmlClocksEventReasons: the bits that make a measurement wrong. The others (idle,
# clocks that somebody asked for, a display) are no disturbance.
HARMFUL = {
    0x4: "SwPowerCap",
    0x8: "HwSlowdown",
    0x20: "SwThermal",
    0x40: "HwThermal",
    0x80: "HwPowerBrake",
}
# nvmlComputeMode_t
COMPUTE_MODES = (
    "default",
    "exclusive thread",
    "prohibited",
    "exclusive process",
)
GRAPHICS, SM = 0, 1  # nvmlClockType_t
DEGREES = 0  # NVML_TEMPERATURE_GPU: of the chip


class GpuLostError(RuntimeError):
    """A GPU that was there has fallen off the bus, or was taken away; the message names its
    uuid.
    """


@dataclass(frozen=True)
class Reading:
    """A GPU in one moment. ``joules``: in all since its driver was loaded. ``throttled``: harmful
    reasons only.
    """

    sm_mhz: int | None = None
    watts: float | None = None
    joules: float | None = None
    celsius: int | None = None
    throttled: tuple[str, ...] | None = None
    # pids that compute on it; in a container an older driver tells the host's pids
    processes: tuple[int, ...] = ()


class Reader(Protocol):
    """What can be read: a ``Gpu``, or a test's."""

    def read(self) -> Reading:
        """How it is now."""


class Gpu:
    """A GPU. ``index`` is NVML's, in the order of the PCI bus; CUDA's may differ (``visible``)."""

    def __init__(self, handle: Any, index: int) -> None:
        self._handle, self.index = handle, index
        self.uuid = f"GPU number {index}"  # until it has told
        self.uuid = self._get("nvmlDeviceGetUUID") or self.uuid
        self.name: str = self._get("nvmlDeviceGetName") or "NVIDIA GPU"

    def read(self) -> Reading:
        """How it is now. Raises ``GpuLostError``."""
        return Reading(
            sm_mhz=self.clock(),
            watts=_thousandths(self._get("nvmlDeviceGetPowerUsage")),
            joules=_thousandths(self._get("nvmlDeviceGetTotalEnergyConsumption")),
            celsius=self._get("nvmlDeviceGetTemperature", DEGREES),
            throttled=self.throttled(),
            processes=self._processes(),
        )

    def clock(self) -> int | None:
        """The clock of its processors, MHz. Raises ``GpuLostError``."""
        found: int | None = self._get("nvmlDeviceGetClockInfo", SM)
        return found

    def throttled(self) -> tuple[str, ...] | None:
        """What holds its clock down; harmful reasons only. Raises ``GpuLostError``."""
        bits = self._get("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # the name of drivers before 535
            bits = self._get("nvmlDeviceGetCurrentClocksThrottleReasons")
        if bits is None:
            return None
        return tuple(name for bit, name in HARMFUL.items() if bits & bit)

    def cuda_driver(self) -> str | None:
        """The newest CUDA that its driver runs, e.g. 13.1. Raises ``GpuLostError``."""
        number: int | None = self._get_of_all("nvmlSystemGetCudaDriverVersion")
        return None if number is None else f"{number // 1000}.{number % 1000 // 10}"

    def facts(self) -> dict[str, Any]:
        """What of it stays the same while it is measured on. Raises ``GpuLostError``."""
        modes = ("nvmlDeviceGetPersistenceMode", "nvmlDeviceGetComputeMode", "nvmlDeviceGetEccMode")
        persistence, compute, ecc = (self._get(mode) for mode in modes)
        pci = self._get("nvmlDeviceGetPciInfo")
        return {
            "name": self.name,
            "uuid": self.uuid,
            "driver": self._get_of_all("nvmlSystemGetDriverVersion"),
            "cuda_driver": self.cuda_driver(),
            "persistence": None if persistence is None else bool(persistence),
            "memory_bytes": self._memory("total"),
            "max_sm_mhz": self._get("nvmlDeviceGetMaxClockInfo", SM),
            "application_mhz": self._get("nvmlDeviceGetApplicationsClock", GRAPHICS),
            "default_application_mhz": self._get("nvmlDeviceGetDefaultApplicationsClock", GRAPHICS),
            "power_limit_watts": _thousandths(self._get("nvmlDeviceGetEnforcedPowerLimit")),
            "compute_mode": COMPUTE_MODES[compute]
            if compute in range(len(COMPUTE_MODES))
            else None,
            "mig": self._mig(),
            "pci": None
            if pci is None
            else pci.busId.decode()
            if isinstance(pci.busId, bytes)
            else pci.busId,
            "ecc": None if ecc is None else bool(ecc[0]),
        }

    def instances(self) -> list[Gpu] | None:
        """Its MIG instances in NVML's order, or None where it is one whole GPU."""
        with suppress(GpuLostError):  # then it is told of where it is read
            if self._mig():
                slots = range(self._get("nvmlDeviceGetMaxMigDeviceCount") or 0)
                handles = [self._get("nvmlDeviceGetMigDeviceHandleByIndex", slot) for slot in slots]
                return [Instance(handle, self) for handle in handles if handle is not None]
        return None

    def _mig(self) -> bool | None:
        modes = self._get("nvmlDeviceGetMigMode")
        return None if modes is None else bool(modes[0])  # now, and after the next reset

    def _memory(self, of: str) -> int | None:
        return getattr(self._get("nvmlDeviceGetMemoryInfo"), of, None)

    def _processes(self) -> tuple[int, ...]:
        return tuple(
            sorted(
                {process.pid for process in self._get("nvmlDeviceGetComputeRunningProcesses") or ()}
            )
        )

    def _get(self, call: str, *arguments: int) -> Any:
        return self._get_of_all(call, self._handle, *arguments)

    def _get_of_all(self, call: str, *arguments: Any) -> Any:
        """What NVML answers, or None where it does not."""
        import pynvml

        try:
            return getattr(pynvml, call)(*arguments)
        except pynvml.NVMLError_GpuIsLost as lost:
            raise GpuLostError(
                f"{self.uuid} is lost: it has fallen off the bus, or was taken away"
            ) from lost
        except (
            pynvml.NVMLError,
            pynvml.NVMLLibraryMismatchError,
        ):
            # the second is none of the first
            return None


class Instance(Gpu):
    """A MIG instance: its own name, uuid, memory and processes; clocks and heat are those of the
    GPU that it is of.

    Power and energy are None: NVML tells them of the whole GPU, which neighbours share.
    """

    def __init__(self, handle: Any, parent: Gpu) -> None:
        super().__init__(handle, parent.index)
        self.parent = parent

    def clock(self) -> int | None:
        """That of its GPU. Raises ``GpuLostError``."""
        return self.parent.clock()

    def throttled(self) -> tuple[str, ...] | None:
        """What holds down the clock of its GPU. Raises ``GpuLostError``."""
        return self.parent.throttled()

    def read(self) -> Reading:
        """How it is now. Raises ``GpuLostError``."""
        return replace(self.parent.read(), watts=None, joules=None, processes=self._processes())

    def facts(self) -> dict[str, Any]:
        """Those of its GPU, with what is its own."""
        return self.parent.facts() | {
            "name": self.name,
            "uuid": self.uuid,
            "memory_bytes": self._memory("total"),
        }

    def instances(self) -> list[Gpu] | None:
        """None: it is not divided any more."""
        return None


def gpus() -> list[Gpu] | None:
    """The GPUs in the order of the PCI bus, less those that do not answer; None without a driver or
    its NVML.
    """
    import pynvml

    try:
        pynvml.nvmlInit()  # counted: a second one costs nothing
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError:
        return None
    found = []
    for index in range(count):
        with suppress(pynvml.NVMLError, GpuLostError):  # lost, or another user's
            found.append(Gpu(pynvml.nvmlDeviceGetHandleByIndex(index), index))
    return found


def visible(environ: Mapping[str, str]) -> list[Gpu]:
    """The devices that CUDA will number 0, 1, ... in this environment; with ``ambiguous`` indices
    their set is a guess.

    The rules are those of CUDA's programming guide (environment variables) and of torch.cuda's own
    count. With MIG a process sees one instance, the first, and no whole GPU beside it (MIG user
    guide, CUDA device enumeration).
    """
    every = gpus() or []
    chosen = environ.get("CUDA_VISIBLE_DEVICES")
    devices: list[Gpu] = []
    for gpu in every if chosen is None else _chosen(chosen, every):
        instances = gpu.instances()
        devices += [gpu] if instances is None else instances
    instance = next((device for device in devices if isinstance(device, Instance)), None)
    return devices if instance is None else [instance]


def ambiguous(environ: Mapping[str, str]) -> str | None:
    """Why it cannot be told which GPU CUDA gives which number, and what to do, or None."""
    names = list(dict.fromkeys(gpu.name for gpu in gpus() or []))
    by_uuid = environ.get("CUDA_VISIBLE_DEVICES", "").startswith(("GPU-", "MIG-"))
    if (
        len(names) < 2
        or by_uuid
        or environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
        or not visible(environ)
    ):
        return None
    return (
        f"GPUs of different kinds ({', '.join(names)}): CUDA numbers them by a guess at which is fastest, nvidia-smi "
        "by their bus; set CUDA_DEVICE_ORDER=PCI_BUS_ID"
    )


def by_uuid(uuid: str) -> Gpu:
    """The GPU or MIG instance of that uuid, with or without its prefix (torch leaves it out)."""
    for gpu in gpus() or []:
        for device in [gpu, *(gpu.instances() or [])]:
            if _bare(device.uuid) == _bare(uuid):
                return device
    raise LookupError(f"NVML knows no GPU {uuid}")


def of_process(environ: Mapping[str, str], uuid: str) -> Gpu:
    """The device that a process with this environment computes on, whose uuid torch tells.

    A MIG instance is known by the environment: torch may tell the uuid of the whole GPU, which
    neighbours share. Raises ``LookupError``.
    """
    first = visible(environ)[:1]
    return first[0] if first and isinstance(first[0], Instance) else by_uuid(uuid)


def _chosen(text: str, every: list[Gpu]) -> list[Gpu]:
    """What CUDA_VISIBLE_DEVICES names, up to the first entry that names nothing; nothing where one
    comes twice.
    """
    prefix = text[:4] if text.startswith(("GPU-", "MIG-")) else ""
    found: list[Gpu] = []
    for entry in text.split(","):
        gpu = _of_prefix(entry, prefix, every) if prefix else _of_number(entry, every)
        if gpu is None:
            break
        if gpu.uuid in (other.uuid for other in found):
            return []
        found.append(gpu)
    return found


def _of_number(entry: str, every: list[Gpu]) -> Gpu | None:
    number = re.match(r"\s*\+?(\d+)", entry)  # like strtoul: what follows the digits is not read
    return every[int(number[1])] if number and int(number[1]) < len(every) else None


def _of_prefix(entry: str, prefix: str, every: list[Gpu]) -> Gpu | None:
    """The one device whose uuid begins so; kinds do not mix, the first entry's is that of the
    list.
    """
    devices = (
        every
        if prefix == "GPU-"
        else [instance for gpu in every for instance in gpu.instances() or []]
    )
    matching = [device for device in devices if device.uuid.startswith(entry)]
    return matching[0] if len(matching) == 1 and entry.startswith(prefix) else None


def _bare(uuid: str) -> str:
    return re.sub(r"^(GPU|MIG)-", "", uuid).lower()


def _thousandths(value: int | None) -> float | None:
    """NVML tells milliwatts and millijoules."""
    return None if value is None else value / 1e3
