"""NVIDIA GPUs through their management library (NVML): names, clocks, energy, heat, and other
users.

Only reads: it never changes a setting of a card, makes no CUDA context and imports no torch. A
value that a card does not report is None; the other values are still there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

# nvml.h, group nvmlClocksEventReasons: the bits that make a measurement wrong. The others (idle,
# clocks that the user has set, a display) are no disturbance.
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
    """A GPU has fallen off the bus, or was removed. The message names its uuid."""


@dataclass(frozen=True)
class Reading:
    """The state of a GPU at one moment. ``joules``: in total since its driver was loaded.
    ``throttled``: harmful reasons only.
    """

    sm_mhz: int | None = None
    watts: float | None = None
    joules: float | None = None
    celsius: int | None = None
    throttled: tuple[str, ...] | None = None
    # pids that compute on it; inside a container an older driver reports the host's pids
    processes: tuple[int, ...] = ()


class Reader(Protocol):
    """Anything with a reading: a ``Gpu``, or a fake in tests."""

    def read(self) -> Reading:
        """Return the state now."""


class Gpu:
    """A GPU. ``index`` is NVML's, in the order of the PCI bus. CUDA's order may differ, see
    ``visible``.
    """

    def __init__(self, handle: Any, index: int) -> None:
        self._handle, self.index = handle, index
        self.uuid = f"GPU number {index}"  # for the message, if the next line raises
        self.uuid = self._get("nvmlDeviceGetUUID") or self.uuid
        self.name: str = self._get("nvmlDeviceGetName") or "NVIDIA GPU"

    def read(self) -> Reading:
        """Return the state now. Raises ``GpuLostError``."""
        return Reading(
            sm_mhz=self.clock(),
            watts=_thousandths(self._get("nvmlDeviceGetPowerUsage")),
            joules=_thousandths(self._get("nvmlDeviceGetTotalEnergyConsumption")),
            celsius=self._get("nvmlDeviceGetTemperature", DEGREES),
            throttled=self.throttled(),
            processes=self._processes(),
        )

    def clock(self) -> int | None:
        """Return the clock of its processors in MHz. Raises ``GpuLostError``."""
        mhz: int | None = self._get("nvmlDeviceGetClockInfo", SM)
        return mhz

    def throttled(self) -> tuple[str, ...] | None:
        """Return the harmful reasons for which its clock is held down. Raises ``GpuLostError``."""
        bits = self._get("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # the name of drivers before 535
            bits = self._get("nvmlDeviceGetCurrentClocksThrottleReasons")
        if bits is None:
            return None
        return tuple(name for bit, name in HARMFUL.items() if bits & bit)

    def cuda_driver(self) -> str | None:
        """Return the newest CUDA version that its driver runs, e.g. 13.1. Raises
        ``GpuLostError``.
        """
        number: int | None = self._get_of_all("nvmlSystemGetCudaDriverVersion")
        return None if number is None else f"{number // 1000}.{number % 1000 // 10}"

    def facts(self) -> dict[str, Any]:
        """Return the facts that stay the same during a measurement. Raises ``GpuLostError``."""
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
        """Return its MIG instances in NVML's order, or None for an undivided GPU."""
        with suppress(GpuLostError):  # read() reports it
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
        """Return NVML's answer, or None where it has none."""
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
            # the second class is not derived from the first
            return None


class Instance(Gpu):
    """A MIG instance: it has its own name, uuid, memory and processes. Clock and heat are those of
    its GPU.

    Power and energy are None: NVML reports them for the whole GPU, which neighbours share.
    """

    def __init__(self, handle: Any, parent: Gpu) -> None:
        super().__init__(handle, parent.index)
        self.parent = parent

    def clock(self) -> int | None:
        """Return the clock of its GPU. Raises ``GpuLostError``."""
        return self.parent.clock()

    def throttled(self) -> tuple[str, ...] | None:
        """Return the harmful reasons for which the clock of its GPU is held down. Raises
        ``GpuLostError``.
        """
        return self.parent.throttled()

    def read(self) -> Reading:
        """Return the state now. Raises ``GpuLostError``."""
        return replace(self.parent.read(), watts=None, joules=None, processes=self._processes())

    def facts(self) -> dict[str, Any]:
        """Return the facts of its GPU, with its own name, uuid and memory."""
        return self.parent.facts() | {
            "name": self.name,
            "uuid": self.uuid,
            "memory_bytes": self._memory("total"),
        }

    def instances(self) -> list[Gpu] | None:
        """Return None: an instance is not divided further."""
        return None


def gpus() -> list[Gpu] | None:
    """Return the GPUs in the order of the PCI bus, without those that do not answer; None without a
    driver or its NVML.
    """
    import pynvml

    try:
        pynvml.nvmlInit()  # counted: a second one costs nothing
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError:
        return None
    answering = []
    for index in range(count):
        with suppress(pynvml.NVMLError, GpuLostError):  # lost, or another user's
            answering.append(Gpu(pynvml.nvmlDeviceGetHandleByIndex(index), index))
    return answering


def visible(environ: Mapping[str, str]) -> list[Gpu]:
    """Return the devices that CUDA will number 0, 1, ... in this environment. With ``ambiguous``
    indices the set is a guess.

    The rules are those of CUDA's programming guide (environment variables) and of torch.cuda's
    device count. With MIG a process sees one instance, the first, and no whole GPU beside it (MIG
    user guide, CUDA device enumeration).
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
    """Return why CUDA's numbering of the GPUs is unknown, and what to do; None where it is
    known.
    """
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
        f"GPUs of different kinds ({', '.join(names)}): CUDA numbers the fastest first, by its own estimate, and "
        "nvidia-smi numbers them by bus; set CUDA_DEVICE_ORDER=PCI_BUS_ID"
    )


def by_uuid(uuid: str) -> Gpu:
    """Return the GPU or MIG instance with that uuid, with or without its prefix (torch omits it).
    Raises ``LookupError``.
    """
    for gpu in gpus() or []:
        for device in [gpu, *(gpu.instances() or [])]:
            if _bare(device.uuid) == _bare(uuid):
                return device
    raise LookupError(f"NVML knows no GPU {uuid}")


def gpu_of_process(environ: Mapping[str, str], uuid: str) -> Gpu:
    """Return the device that a process with this environment computes on. ``uuid``: the one that
    torch reports.

    A MIG instance is found by the environment: torch may report the uuid of the whole GPU, which
    neighbours share. Raises ``LookupError``.
    """
    first = visible(environ)[:1]
    return first[0] if first and isinstance(first[0], Instance) else by_uuid(uuid)


def _chosen(text: str, every: list[Gpu]) -> list[Gpu]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES names, up to the first entry that names none.
    Return no GPU if one comes twice.
    """
    prefix = text[:4] if text.startswith(("GPU-", "MIG-")) else ""
    chosen: list[Gpu] = []
    for entry in text.split(","):
        gpu = _of_prefix(entry, prefix, every) if prefix else _of_number(entry, every)
        if gpu is None:
            break
        if gpu.uuid in (other.uuid for other in chosen):
            return []
        chosen.append(gpu)
    return chosen


def _of_number(entry: str, every: list[Gpu]) -> Gpu | None:
    number = re.match(r"\s*\+?(\d+)", entry)  # like strtoul: what follows the digits is not read
    return every[int(number[1])] if number and int(number[1]) < len(every) else None


def _of_prefix(entry: str, prefix: str, every: list[Gpu]) -> Gpu | None:
    """Return the one device whose uuid begins with ``entry``. All entries must be of the kind of
    the first one (``prefix``).
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
    """Return watts or joules: NVML reports milliwatts and millijoules."""
    return None if value is None else value / 1e3
