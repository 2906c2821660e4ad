"""DEVICE_KINDS: the kinds of device that cells run on, and what a run must know of each before
torch is imported.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeviceKind:
    """A row of the table.

    ``dtypes``: of its targets. ``warm_seconds``: that it must have been busy before anything is
    measured, since clocks rise under load. ``workers_at_once``: how many may open side by side; 1
    where the device tells its memory for all who use it.
    """

    name: str
    dtypes: tuple[str, ...]
    warm_seconds: float
    workers_at_once: int


DEVICE_KINDS = {
    kind.name: kind
    for kind in (
        DeviceKind(
            "cpu", ("fp32", "bf16", "fp16", "amp_bf16"), warm_seconds=0.0, workers_at_once=2
        ),
        DeviceKind(
            "cuda",
            ("fp32", "tf32", "fp16", "bf16", "amp_fp16", "amp_bf16"),
            warm_seconds=0.5,
            workers_at_once=1,
        ),
    )
}
