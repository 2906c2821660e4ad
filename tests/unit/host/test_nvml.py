"""What NVIDIA's management library says, from a fake of it: nothing unsupported is an error, and
uuids decide.
"""

from __future__ import annotations

import pytest

from paritygate.host import nvml
from tests.support import fake_nvml
from tests.support.fake_nvml import A100, Card

ONE, TWO, THREE = (Card(f"GPU-{digit * 8}-aaaa") for digit in "123")


def uuids(environ):
    return [gpu.uuid for gpu in nvml.visible(environ)]


def mig(*uuids, parent="GPU-99999999-aaaa"):
    instances = [
        None,
        *(
            Card(uuid, f"{A100} MIG 1g.5gb", used=1 << 20, pids=(77,), total=5 << 30)
            for uuid in uuids
        ),
    ]
    return Card(parent, A100, instances=instances, pids=(77, 88))


def test_without_a_driver_there_is_no_list(monkeypatch):
    fake_nvml.install(monkeypatch, None)

    assert nvml.gpus() is None
    assert nvml.visible({}) == []
    assert nvml.ambiguous({}) is None
    with pytest.raises(LookupError, match="GPU-1"):
        nvml.by_uuid("GPU-1")


def test_the_real_library_says_the_same_where_there_is_no_driver():
    found = nvml.gpus()

    assert found is None or all(gpu.uuid.startswith("GPU-") for gpu in found)


def test_a_driver_without_a_gpu_has_an_empty_list(monkeypatch):
    fake_nvml.install(monkeypatch, [])

    assert nvml.gpus() == []


def test_a_reading_is_in_megahertz_watts_and_joules(monkeypatch):
    fake_nvml.install(monkeypatch, [Card(bits=0x4 | 0x40, pids=(90001, 12, 90001))])

    (gpu,) = nvml.gpus()

    assert (gpu.uuid, gpu.name, gpu.index) == ("GPU-11111111-aaaa", "NVIDIA H100 80GB HBM3", 0)
    assert gpu.read() == nvml.Reading(
        sm_mhz=1755,
        watts=112.5,
        joules=7654.321,
        celsius=41,
        throttled=("SwPowerCap", "HwThermal"),
        processes=(12, 90001),
    )


def test_facts_name_what_a_comparison_must_know(monkeypatch):
    fake_nvml.install(monkeypatch, [Card(persistence=0, compute_mode=3)])

    (gpu,) = nvml.gpus()

    assert gpu.facts() == {
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": "GPU-11111111-aaaa",
        "driver": "580.95.05",
        "cuda_driver": "13.1",
        "persistence": False,
        "memory_bytes": 80 << 30,
        "max_sm_mhz": 1980,
        "application_mhz": 1980,
        "default_application_mhz": 1980,
        "power_limit_watts": 700.0,
        "compute_mode": "exclusive process",
        "mig": False,
        "pci": "00000000:3B:00.0",
        "ecc": True,
    }


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        (0x4, ("SwPowerCap",)),
        (0x8, ("HwSlowdown",)),
        (0x20, ("SwThermal",)),
        (0x40, ("HwThermal",)),
        (0x80, ("HwPowerBrake",)),
        (0x4 | 0x20 | 0x1, ("SwPowerCap", "SwThermal")),
        (
            0x1 | 0x2 | 0x10 | 0x100,
            (),
        ),  # idle, application clocks, sync boost, display: no disturbance
    ],
)
def test_only_reasons_that_harm_count(monkeypatch, bits, names):
    fake_nvml.install(monkeypatch, [Card(bits=bits)])

    (gpu,) = nvml.gpus()

    assert gpu.read().throttled == names


def test_the_bits_are_those_of_the_library():
    import pynvml

    of_library = {
        name: getattr(pynvml, f"nvmlClocksEventReason{name}{tail}")
        for name, tail in [
            ("SwPowerCap", ""),
            ("HwSlowdown", ""),
            ("SwThermal", "Slowdown"),
            ("HwThermal", "Slowdown"),
            ("HwPowerBrake", "Slowdown"),
        ]
    }

    assert {name: bit for bit, name in nvml.HARMFUL.items()} == of_library
    assert (nvml.GRAPHICS, nvml.SM, nvml.DEGREES) == (
        pynvml.NVML_CLOCK_GRAPHICS,
        pynvml.NVML_CLOCK_SM,
        pynvml.NVML_TEMPERATURE_GPU,
    )
    assert [
        nvml.COMPUTE_MODES[getattr(pynvml, f"NVML_COMPUTEMODE_{name}")]
        for name in ("DEFAULT", "PROHIBITED", "EXCLUSIVE_PROCESS")
    ] == ["default", "prohibited", "exclusive process"]


@pytest.mark.parametrize(
    ("call", "value", "empty"),
    [
        ("nvmlDeviceGetClockInfo", "sm_mhz", None),
        ("nvmlDeviceGetPowerUsage", "watts", None),
        ("nvmlDeviceGetTotalEnergyConsumption", "joules", None),
        ("nvmlDeviceGetTemperature", "celsius", None),
        ("nvmlDeviceGetComputeRunningProcesses", "processes", ()),
    ],
)
def test_what_a_card_does_not_support_is_none_for_itself_alone(monkeypatch, call, value, empty):
    fake_nvml.install(monkeypatch, [Card(unsupported={call}, bits=0x4, pids=(5,))])
    whole = Card(bits=0x4, pids=(5,))

    reading = nvml.gpus()[0].read()
    fake_nvml.install(monkeypatch, [whole])
    full = nvml.gpus()[0].read()

    assert getattr(reading, value) == empty
    assert {name for name in vars(full) if getattr(full, name) != getattr(reading, name)} == {value}


def test_what_holds_the_clock_down_has_another_name_in_old_drivers_and_may_be_unknown(monkeypatch):
    new, old = "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
    fake_nvml.install(monkeypatch, [Card(bits=0x4, unsupported={new})])
    assert nvml.gpus()[0].throttled() == ("SwPowerCap",)

    fake_nvml.install(monkeypatch, [Card(bits=0x4, unsupported={new, old})])
    assert nvml.gpus()[0].throttled() is None


def test_a_driver_older_than_the_library_is_no_error(monkeypatch):
    """Pynvml tells that by an exception that is no NVMLError."""
    fake_nvml.install(monkeypatch, [Card(mismatched=True)])

    assert nvml.gpus()[0].read().processes == ()


def test_a_card_that_tells_nothing_is_still_a_card(monkeypatch):
    fake_nvml.install(monkeypatch, [Card(unsupported={"all"})])

    (gpu,) = nvml.gpus()

    assert gpu.uuid == "GPU number 0"
    assert gpu.read() == nvml.Reading()
    assert {name for name, value in gpu.facts().items() if value is not None} == {
        "name",
        "uuid",
        "driver",
        "cuda_driver",
    }


def test_a_gpu_that_gets_lost_says_which(monkeypatch):
    card = Card()
    fake_nvml.install(monkeypatch, [card, TWO])
    gpu, _ = nvml.gpus()

    card.lost = True

    with pytest.raises(nvml.GpuLostError, match="GPU-11111111-aaaa is lost"):
        gpu.read()
    with pytest.raises(nvml.GpuLostError):
        gpu.facts()
    assert [(found.uuid, found.index) for found in nvml.gpus()] == [(TWO.uuid, 1)]


def test_only_getters_are_called(monkeypatch):
    called = fake_nvml.install(monkeypatch, [ONE, mig("MIG-1")])

    for gpu in [*nvml.gpus(), *nvml.visible({})]:
        gpu.read(), gpu.facts()
    nvml.ambiguous({})

    assert {name for name in called if "Get" not in name} == {"nvmlInit"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, "123"),
        ("0", "1"),
        ("2,0", "31"),
        (" 1 , 2", "23"),
        ("1gpu,2x", "23"),  # strtoul
        ("", ""),
        ("-1", ""),
        ("NoDevFiles", ""),
        ("0,-1,1", "1"),
        ("0,7,1", "1"),
        ("1,1", ""),  # CUDA shows none where one comes twice
        ("0,GPU-2", "1"),
        ("GPU-2", "2"),
        ("GPU-33333333-aaaa,GPU-1", "31"),
        ("GPU-1,GPU-x,GPU-2", "1"),
        ("GPU-1,2", "1"),
        ("GPU-", ""),  # which of the three?
        ("GPU-2,GPU-22", ""),
    ],
)
def test_cuda_shows_what_its_variable_names(monkeypatch, text, shown):
    fake_nvml.install(monkeypatch, [ONE, TWO, THREE])

    found = uuids({} if text is None else {"CUDA_VISIBLE_DEVICES": text})

    assert "".join(uuid[4] for uuid in found) == shown


def test_an_empty_entry_ends_the_list(monkeypatch):
    fake_nvml.install(monkeypatch, [ONE])

    assert (
        uuids({"CUDA_VISIBLE_DEVICES": "GPU-1,"})
        == uuids({"CUDA_VISIBLE_DEVICES": "0,"})
        == [ONE.uuid]
    )


def test_with_mig_the_first_instance_is_the_only_device(monkeypatch):
    fake_nvml.install(monkeypatch, [ONE, mig("MIG-aaaa", "MIG-bbbb")])

    assert uuids({}) == ["MIG-aaaa"]
    assert uuids({"CUDA_VISIBLE_DEVICES": "0"}) == [ONE.uuid]
    assert uuids({"CUDA_VISIBLE_DEVICES": "1"}) == ["MIG-aaaa"]
    assert uuids({"CUDA_VISIBLE_DEVICES": "GPU-9"}) == ["MIG-aaaa"]
    assert uuids({"CUDA_VISIBLE_DEVICES": "MIG-bbbb"}) == ["MIG-bbbb"]
    assert uuids({"CUDA_VISIBLE_DEVICES": "MIG-b,MIG-a"}) == ["MIG-bbbb"]
    assert uuids({"CUDA_VISIBLE_DEVICES": "MIG-c"}) == []


def test_a_gpu_divided_into_no_instance_is_no_device(monkeypatch):
    fake_nvml.install(monkeypatch, [mig(), ONE])

    assert uuids({}) == [ONE.uuid]
    assert uuids({"CUDA_VISIBLE_DEVICES": "0"}) == []


def test_an_instance_has_its_own_name_and_memory_and_the_clocks_of_its_gpu(monkeypatch):
    fake_nvml.install(monkeypatch, [mig("MIG-aaaa")])

    (instance,) = nvml.visible({})
    reading, facts = instance.read(), instance.facts()

    assert (instance.uuid, instance.name, instance.index) == (
        "MIG-aaaa",
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        0,
    )
    assert (reading.sm_mhz, reading.celsius) == (1755, 41)
    assert (reading.joules, reading.watts) == (None, None), "neighbours share them"
    assert reading.processes == (77,)
    assert (facts["uuid"], facts["memory_bytes"], facts["mig"], facts["driver"]) == (
        "MIG-aaaa",
        5 << 30,
        True,
        "580.95.05",
    )


def test_numbers_are_ambiguous_only_among_gpus_of_different_kinds(monkeypatch):
    fake_nvml.install(monkeypatch, [ONE, TWO])
    assert nvml.ambiguous({}) is None

    fake_nvml.install(monkeypatch, [ONE, Card("GPU-2", A100)])
    for environ in ({}, {"CUDA_VISIBLE_DEVICES": "1"}, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}):
        assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in nvml.ambiguous(environ)
        assert A100 in nvml.ambiguous(environ)
    for environ in (
        {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
        {"CUDA_VISIBLE_DEVICES": "GPU-2"},
        {"CUDA_VISIBLE_DEVICES": "-1"},
    ):
        assert nvml.ambiguous(environ) is None


@pytest.mark.parametrize("uuid", ["GPU-22222222-aaaa", "22222222-aaaa", "22222222-AAAA"])
def test_a_gpu_is_found_by_its_uuid_as_torch_writes_it_too(monkeypatch, uuid):
    fake_nvml.install(monkeypatch, [ONE, TWO, mig("MIG-abcd")])

    assert nvml.by_uuid(uuid).index == 1
    assert nvml.by_uuid("abcd").read().joules is None


def test_under_mig_a_process_knows_its_instance_by_its_environment(monkeypatch):
    """Torch may tell the uuid of the whole GPU, which neighbours share."""
    whole = mig("MIG-abcd")
    fake_nvml.install(monkeypatch, [whole])
    assert nvml.gpu_of_process({}, whole.uuid).uuid == "MIG-abcd"

    fake_nvml.install(monkeypatch, [ONE, TWO])
    assert nvml.gpu_of_process({}, TWO.uuid).index == 1
    with pytest.raises(LookupError):
        nvml.gpu_of_process({}, "GPU-3")


def test_a_gpu_that_gets_lost_while_cuda_numbers_them_ends_nothing(monkeypatch):
    card = Card(lost_at="nvmlDeviceGetMigMode")
    fake_nvml.install(monkeypatch, [card])

    assert [gpu.uuid for gpu in nvml.visible({})] == [card.uuid]
    assert nvml.by_uuid(card.uuid).index == 0


def test_a_uuid_is_no_prefix(monkeypatch):
    fake_nvml.install(monkeypatch, [ONE])

    with pytest.raises(LookupError, match="GPU-1111"):
        nvml.by_uuid("GPU-1111")
