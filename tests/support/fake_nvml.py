"""A management library of a table: GPUs with what they tell, what they do not support, and one that
gets lost.

``fake_nvml.install(monkeypatch, [Card(...), ...])`` puts it in the place of pynvml. Errors are
pynvml's own classes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pynvml

H100 = "NVIDIA H100 80GB HBM3"
A100 = "NVIDIA A100-SXM4-40GB"


@dataclass
class Card:
    """One GPU, or one MIG instance; tests change it while it is looked at."""

    uuid: str = "GPU-11111111-aaaa"
    name: str = H100
    clocks: dict[int, int] = field(default_factory=lambda: {0: 1980, 1: 1755, 2: 2619})
    max_mhz: int = 1980
    application_mhz: int = 1980
    default_application_mhz: int = 1980
    milliwatts: int = 112_500
    millijoules: int = 7_654_321
    celsius: int = 41
    bits: int = 0
    pids: tuple[int, ...] = ()
    used: int = 3 << 30
    total: int = 80 << 30
    persistence: int = 1
    compute_mode: int = 0
    instances: list[Card | None] | None = None  # None: MIG is off; a None within: an empty slot
    unsupported: frozenset[str] | set[str] = frozenset()  # names of calls; "all" for every one
    lost: bool = False
    lost_at: str = ""  # the call at which it is
    mismatched: bool = False  # its driver is older than the library
    cuda: int = 13010


def install(monkeypatch: Any, cards: Sequence[Card] | None) -> list[str]:
    """Put the cards in pynvml's place; None: a machine without a driver. The list gets the name of
    every call.
    """
    called: list[str] = []
    monkeypatch.setitem(sys.modules, "pynvml", _Library(cards, called))
    return called


class _Library(ModuleType):
    def __init__(self, cards: Sequence[Card] | None, called: list[str]) -> None:
        super().__init__("pynvml")
        self._cards, self._called = cards, called

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("NVMLError", "NVMLLibraryMismatchError")):
            return getattr(pynvml, name)
        if name not in _ANSWERS or not hasattr(pynvml, name):
            raise AttributeError(
                f"{name}: {'the fake' if hasattr(pynvml, name) else 'the real library'} has no such"
            )

        def call(*arguments: Any) -> Any:
            self._called.append(name)
            if name == "nvmlInit" and self._cards is None:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
            card = arguments[0] if arguments and isinstance(arguments[0], Card) else None
            if card is not None and (card.lost or card.lost_at == name):
                raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
            if (
                card is not None
                and card.mismatched
                and name == "nvmlDeviceGetComputeRunningProcesses"
            ):
                raise pynvml.NVMLLibraryMismatchError(
                    "Unversioned function called and the pyNVML version does not match"
                )
            if card is not None and {name, "all"} & set(card.unsupported):
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return _ANSWERS[name](*([] if card is not None else [self._cards]), *arguments)

        return call


def _mig_mode(card: Card) -> list[int]:
    if card.name.startswith("GeForce"):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return [int(card.instances is not None), 0]


def _mig_device(card: Card, index: int) -> Card:
    found = dict(enumerate(card.instances or [])).get(index)
    if found is None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
    return found


def _by_index(cards: Sequence[Card], index: int) -> Card:
    if cards[index].lost:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
    return cards[index]


_ANSWERS: dict[str, Any] = {
    "nvmlInit": lambda cards: None,
    "nvmlDeviceGetCount": len,
    "nvmlDeviceGetHandleByIndex": _by_index,
    "nvmlSystemGetDriverVersion": lambda cards: "580.95.05",
    "nvmlSystemGetCudaDriverVersion": lambda cards: cards[0].cuda,
    "nvmlDeviceGetUUID": lambda card: card.uuid,
    "nvmlDeviceGetName": lambda card: card.name,
    "nvmlDeviceGetClockInfo": lambda card, kind: card.clocks[kind],
    "nvmlDeviceGetMaxClockInfo": lambda card, kind: card.max_mhz,
    "nvmlDeviceGetApplicationsClock": lambda card, kind: card.application_mhz,
    "nvmlDeviceGetDefaultApplicationsClock": lambda card, kind: card.default_application_mhz,
    "nvmlDeviceGetPowerUsage": lambda card: card.milliwatts,
    "nvmlDeviceGetEnforcedPowerLimit": lambda card: 700_000,
    "nvmlDeviceGetTotalEnergyConsumption": lambda card: card.millijoules,
    "nvmlDeviceGetTemperature": lambda card, sensor: card.celsius,
    "nvmlDeviceGetCurrentClocksEventReasons": lambda card: card.bits,
    "nvmlDeviceGetCurrentClocksThrottleReasons": lambda card: card.bits,
    "nvmlDeviceGetComputeRunningProcesses": lambda card: [
        SimpleNamespace(pid=pid) for pid in card.pids
    ],
    "nvmlDeviceGetMemoryInfo": lambda card: SimpleNamespace(used=card.used, total=card.total),
    "nvmlDeviceGetPersistenceMode": lambda card: card.persistence,
    "nvmlDeviceGetComputeMode": lambda card: card.compute_mode,
    "nvmlDeviceGetEccMode": lambda card: [1, 1],
    "nvmlDeviceGetPciInfo": lambda card: SimpleNamespace(busId=b"00000000:3B:00.0"),
    "nvmlDeviceGetMigMode": _mig_mode,
    "nvmlDeviceGetMaxMigDeviceCount": lambda card: 7,
    "nvmlDeviceGetMigDeviceHandleByIndex": _mig_device,
}
