"""The processor and the GPU as devices. The GPU's interface to torch is a fake; the processor is
real.
"""

import mmap
from types import SimpleNamespace

import pytest

from paritygate.core.devices import DEVICE_KINDS
from paritygate.host import nvml
from paritygate.runtime.devices import DEVICES
from paritygate.runtime.devices.cpu import Cpu
from paritygate.runtime.devices.cuda import Cuda
from tests.support.fakes import MIB, FakeTorchCuda


def held(size):
    """Take memory, touch it, give it back to the kernel."""
    block = mmap.mmap(-1, size)
    block[:] = b"x" * size
    block.close()


def test_the_clock_runs_forward_and_synchronising_waits_for_nothing():
    cpu = Cpu()
    before = cpu.clock()
    cpu.synchronize()
    assert cpu.clock() >= before


def test_the_peak_counts_what_was_held_in_between_and_starts_anew():
    cpu = Cpu()
    held(200 * MIB)
    cpu.reset_peak()
    assert cpu.peak_bytes() < 5 * MIB, "what was held before does not count"
    held(50 * MIB)
    assert 45 * MIB < cpu.peak_bytes() < 110 * MIB, "the block, and the bytes it was filled from"


def test_the_peak_is_unknown_before_watching_began():
    assert Cpu().peak_bytes() is None


def test_every_device_knows_its_name():
    assert all(device.name == name for name, device in DEVICES.items())


@pytest.fixture
def api():
    return FakeTorchCuda()


def test_the_context_is_made_before_anything_is_watched(api):
    Cuda(api)
    assert api.log == ["init"]


def test_work_goes_to_a_stream_of_our_own_whose_pointer_others_get(api):
    gpu = Cuda(api)
    assert gpu.stream == 4711
    with gpu.guard():
        assert api.log == ["init", "guarding 4711"]


def test_marks_are_events_and_elapsed_is_in_seconds(api):
    gpu = Cuda(api)
    begun = gpu.mark()
    api.milliseconds += 2.5
    assert gpu.elapsed(begun, gpu.mark()) == pytest.approx(0.0025)


def test_the_peak_is_what_the_driver_says_above_the_start(api):
    gpu = Cuda(api)
    assert gpu.peak_bytes() is None
    gpu.reset_peak()
    api.used += 300 * MIB
    assert gpu.peak_bytes() == 300 * MIB, "allocators of every engine, the context left out"
    assert "reset_peak_memory_stats" in api.log


def test_what_leaks_is_told_to_the_byte(api):
    api.allocated = 12345
    assert Cuda(api).held_bytes() == 12345


def test_flushing_writes_over_more_than_any_cache_and_is_given_back(api, monkeypatch):
    monkeypatch.setattr(Cuda, "_buffers", "cpu")
    gpu = Cuda(api)
    assert gpu.flush() is True
    assert gpu._scrap.numel() >= 60 * MIB
    gpu.empty_cache()
    assert gpu._scrap is None
    assert "empty_cache" in api.log


def test_the_facts_name_the_card(api):
    facts = Cuda(api).facts()
    assert facts["gpu"] == "NVIDIA H200"
    assert facts["gpu_uuid"] == "1234-abcd"
    assert facts["gpu_capability"] == "9.0"
    assert facts["torch_peak_bytes"] == 3 * MIB


def test_energy_is_asked_of_the_card_that_torch_means(api, monkeypatch):
    asked = []

    def by_uuid(uuid):
        asked.append(uuid)
        return SimpleNamespace(read=lambda: SimpleNamespace(joules=12.5))

    monkeypatch.setattr(nvml, "by_uuid", by_uuid)
    gpu = Cuda(api)
    assert [gpu.joules(), gpu.joules()] == [12.5, 12.5]
    assert asked == ["1234-abcd"], "once"


def test_the_gauge_asks_the_card_for_its_clock_and_what_holds_it_down(api, monkeypatch):
    card = SimpleNamespace(clock=lambda: 1410, throttled=lambda: ("SwPowerCap",))
    monkeypatch.setattr(nvml, "by_uuid", lambda uuid: card)

    assert Cuda(api).clock_state() == {"mhz": 1410, "throttled": ["SwPowerCap"]}


def test_a_card_that_nvml_does_not_know_is_asked_for_once_and_tells_nothing(api, monkeypatch):
    asked = []

    def unknown(uuid):
        asked.append(uuid)
        raise LookupError(uuid)

    monkeypatch.setattr(nvml, "by_uuid", unknown)
    gpu = Cuda(api)
    assert [gpu.clock_state(), gpu.clock_state(), gpu.joules()] == [{}, {}, None]
    assert asked == ["1234-abcd"]


def test_a_card_that_is_lost_meanwhile_is_left_to_the_next_call_to_tell(api, monkeypatch):
    def lost():
        raise nvml.GpuLostError("gone")

    monkeypatch.setattr(nvml, "by_uuid", lambda uuid: SimpleNamespace(clock=lost))
    assert Cuda(api).clock_state() == {}


def test_the_processor_has_no_gauge():
    assert Cpu().clock_state() == {}


def test_a_gpu_is_warm_after_half_a_second_of_work():
    assert DEVICE_KINDS["cuda"].warm_seconds == 0.5
    assert DEVICE_KINDS["cpu"].warm_seconds == 0.0
