"""DEVICE_KINDS: the kinds of device that cells run on, and the values that a run needs before torch
is imported.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeviceKind:
    """One row of the table.

    - ``dtypes``: dtypes of the device's targets.
    - ``warm_seconds``: the device must have been busy for this long before anything is measured,
      since clocks rise under load.
    - ``workers_at_once``: how many workers may open at the same time. 1 where the device reports
      only the memory of all its users together.
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
