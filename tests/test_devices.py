"""The processor as a device: its clock runs on, and it knows how much memory was held at most."""

import mmap

from bench.devices import DEVICES, Cpu

MIB = 1 << 20


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
    assert all(device().name == name for name, device in DEVICES.items())
