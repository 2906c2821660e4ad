"""What is seen of GPUs while something is measured: reasons of every look, strangers but none of
ours, a loss.
"""

from __future__ import annotations

from paritygate.host import monitor, nvml
from paritygate.host.monitor import Watch
from paritygate.host.nvml import Reading
from paritygate.timing.diagnostics import Conditions
from tests.support.fakes import FakeGpuReader, watched


def test_without_a_gpu_there_is_nothing_to_say_of_one():
    found = Watch([]).conditions()

    assert (found.gpu_throttled, found.gpu_foreign, found.gpu_lost) == ((), 0, "")
    assert Conditions().gpu_foreign == 0


def test_a_reason_of_any_look_is_kept():
    first, last = Reading(throttled=("SwPowerCap",)), Reading(throttled=("HwThermal", "SwPowerCap"))

    assert watched(FakeGpuReader(first, Reading())).gpu_throttled == ("SwPowerCap",), (
        "seen when it began"
    )
    assert watched(FakeGpuReader(Reading(), last)).gpu_throttled == ("HwThermal", "SwPowerCap"), (
        "seen at the end"
    )
    assert watched(FakeGpuReader(Reading(), first, Reading()), looks=1).gpu_throttled == (
        "SwPowerCap",
    ), "seen in between"
    assert watched(FakeGpuReader(Reading()), FakeGpuReader(first, last)).gpu_throttled == (
        "SwPowerCap",
        "HwThermal",
    ), "of any GPU"


def test_a_process_that_proc_hides_is_a_stranger(monkeypatch):
    def refused(pid, signal):
        assert signal == 0, "nothing is ever sent"
        raise PermissionError

    monkeypatch.setattr(monitor.os, "kill", refused)

    assert watched(FakeGpuReader(Reading(processes=(4242,)))).gpu_foreign == 1


def test_a_gpu_that_gets_lost_ends_nothing():
    gone = watched(
        FakeGpuReader(Reading(throttled=("HwSlowdown",)), nvml.GpuLostError("GPU-1 is lost")),
        FakeGpuReader(Reading()),
    )

    assert gone.gpu_lost == "GPU-1 is lost"
    assert gone.gpu_throttled == ("HwSlowdown",)
    assert watched(
        FakeGpuReader(nvml.GpuLostError("")), FakeGpuReader(Reading(throttled=("HwSlowdown",)))
    ).gpu_throttled == ("HwSlowdown",)
