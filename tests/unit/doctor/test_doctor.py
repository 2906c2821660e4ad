"""The doctor: findings from facts (pure), and one real examination of this machine."""

from __future__ import annotations

from typing import Any

import pytest

from paritygate import doctor
from paritygate.__main__ import main
from paritygate.doctor import reference_cells, spread
from paritygate.host import nvml
from paritygate.process.protocol import Conditions
from paritygate.session import targets
from tests.support import fake_nvml
from tests.support.fake_nvml import A100


def facts(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "cpu": "a processor",
        "cores": 8,
        "affinity": 8,
        "quota": None,
        "threads": 8,
        "governor": "performance",
        "turbo": False,
        "huge_pages": "madvise",
        "libc": "glibc 2.36",
    }
    return good | changes


def got(**changes: Any) -> Conditions:
    good: dict[str, Any] = {
        "asked": {"OMP_NUM_THREADS": "8"},
        "settings": {"threads": 8},
        "kept_by_malloc": True,
        "huge_pages": 64 << 20,
    }
    return Conditions(**good | changes)


def todo(found: list[doctor.Finding]) -> dict[str, str]:
    return {finding.what: finding.todo for finding in found if finding.todo}


def test_a_good_machine_has_nothing_to_do():
    assert todo(doctor.examine(facts(), got(), 0.1, 0.0)) == {}


@pytest.mark.parametrize(
    ("changes", "what", "advice"),
    [
        ({"governor": "powersave"}, "governor", "cpupower"),
        ({"turbo": True}, "turbo", "clocks"),
        ({"huge_pages": "never"}, "huge pages", "madvise"),
        ({"libc": "musl 1.2"}, "C library", "glibc"),
        ({"quota": 2.0, "threads": 8}, "threads", "quota"),
    ],
)
def test_a_bad_setting_is_named_with_what_to_do(changes, what, advice):
    assert advice in todo(doctor.examine(facts(**changes), got(), 0.1, 0.0))[what]


def test_a_busy_machine_and_a_stolen_one_are_named():
    found = todo(doctor.examine(facts(), got(), 7.5, 0.05))

    assert set(found) == {"load", "steal"}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"kept_by_malloc": False}, "malloc keeps memory"),
        ({"huge_pages": 0}, "tensors on huge pages"),
        ({"settings": {"threads": 1}}, "torch threads"),
    ],
)
def test_what_the_process_did_not_get_is_named(changes, what):
    assert what in todo(doctor.examine(facts(), got(**changes), 0.1, 0.0))


def test_a_cell_that_breaks_the_rule_is_named_with_its_launches():
    small, large = {"laboratory": 0.01, "default": 0.02}, {"laboratory": 0.1, "default": 0.2}
    worse = spread.Spread("c", 5, {"laboratory": 1.1, "default": 1.0}, large, small, 0.1)

    (finding,) = doctor.judge([worse])

    assert finding.what == "c"
    assert "10.0% slower" in finding.todo
    assert "5 launches" in finding.todo


@pytest.mark.parametrize(("deviation", "fit"), [(0.004, True), (0.031, False)])
def test_on_a_gpu_it_counts_how_far_processes_lie_apart_and_not_what_the_laboratory_does(
    deviation, fit
):
    apart = {"laboratory": deviation, "default": 0.001}
    cell = spread.Spread("c", 3, {"laboratory": 1.0, "default": 0.9}, apart, apart, 0.1)

    (finding,) = doctor.judge_gpu([cell])

    assert f"processes differ by {deviation:.1%}" in str(finding)
    assert (finding.todo == "") is fit


def test_a_finding_wraps_and_marks_what_is_to_do():
    text = str(doctor.Finding("load", "high " * 40, "stop it"))

    assert text.startswith("! load")
    assert "-> stop it" in text
    assert max(map(len, text.splitlines())) <= 100


def gpu(monkeypatch, **changes: Any) -> dict[str, str]:
    """What is to do about a GPU with these changes."""
    fake_nvml.install(monkeypatch, [fake_nvml.Card(**changes)])
    return todo(doctor.examine(facts(), got(), 0.1, 0.0, doctor.cards()))


@pytest.fixture
def all_shown(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)


@pytest.mark.usefixtures("all_shown")
def test_a_good_gpu_is_described_and_has_nothing_to_do(monkeypatch):
    assert gpu(monkeypatch) == {}

    text = "\n".join(map(str, doctor.examine_gpu(0, doctor.cards()[0])))

    for said in (
        "NVIDIA H100 80GB HBM3, GPU-11111111-aaaa, driver 580.95.05 (CUDA 13.1)",
        "persistence      on",
        "1755 MHz now, 1980 MHz at most, 1980 MHz for",
        "41 °C, 112 W of 700 W",
        "none now",
        "no process computes on it",
        "default",
    ):
        assert said in text, said
    assert "MIG" not in text


@pytest.mark.usefixtures("all_shown")
@pytest.mark.parametrize(
    ("changes", "what", "advice"),
    [
        ({"persistence": 0}, "persistence", "nvidia-smi -pm 1"),
        ({"application_mhz": 1200}, "clock", "nvidia-smi -rac"),
        ({"bits": 0x4 | 0x20}, "throttling", "held down"),
        ({"pids": (4711,)}, "others", "stop them"),
        ({"compute_mode": 3}, "compute mode", "nvidia-smi -c DEFAULT"),
    ],
)
def test_what_is_wrong_with_a_gpu_is_named_with_what_to_do(monkeypatch, changes, what, advice):
    found = gpu(monkeypatch, **changes)

    assert set(found) == {f"GPU 0 {what}"}
    assert advice in found[f"GPU 0 {what}"]


@pytest.mark.usefixtures("all_shown")
@pytest.mark.parametrize(
    "changes",
    [
        {
            "application_mhz": 1275,
            "default_application_mhz": 1275,
        },  # an A100's own: it boosts beyond
        {"bits": 0x1 | 0x2},  # idle, application clocks
        {"unsupported": {"all"}},
    ],
)
def test_what_is_usual_for_a_gpu_is_nothing_to_do(monkeypatch, changes):
    assert gpu(monkeypatch, **changes) == {}


@pytest.mark.usefixtures("all_shown")
def test_reasons_and_strangers_are_told(monkeypatch):
    fake_nvml.install(monkeypatch, [fake_nvml.Card(bits=0x4 | 0x20, pids=(4711, 12))])

    text = " ".join(map(str, doctor.examine_gpu(0, doctor.cards()[0])))

    assert "SwPowerCap, SwThermal" in text
    assert "processes 12, 4711" in text


@pytest.mark.usefixtures("all_shown")
def test_gpus_have_the_numbers_of_cuda(monkeypatch):
    fake_nvml.install(
        monkeypatch, [fake_nvml.Card("GPU-1", pids=(9,)), fake_nvml.Card("GPU-2", persistence=0)]
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")

    assert set(todo(doctor.examine(facts(), got(), 0.1, 0.0, doctor.cards()))) == {
        "GPU 0 persistence",
        "GPU 1 others",
    }


def test_a_gpu_that_is_lost_is_named(monkeypatch):
    card = fake_nvml.Card("GPU-2")
    fake_nvml.install(monkeypatch, [card])
    shown = nvml.gpus()
    monkeypatch.setattr(nvml, "visible", lambda environ: shown)
    card.lost = True

    (finding,) = doctor.examine_gpu(0, doctor.cards()[0])

    assert "GPU-2" in finding.found
    assert "lost" in finding.todo


@pytest.mark.usefixtures("all_shown")
def test_an_instance_says_that_its_energy_is_not_told(monkeypatch):
    instance = fake_nvml.Card("MIG-1", f"{A100} MIG 1g.5gb")
    fake_nvml.install(monkeypatch, [fake_nvml.Card("GPU-1", A100, instances=[instance])])

    text = " ".join(map(str, doctor.examine_gpu(0, doctor.cards()[0])))

    assert "MIG-1" in text
    assert "energy is not reported" in text


def test_an_order_that_cannot_be_told_is_a_finding(monkeypatch):
    fake_nvml.install(monkeypatch, [fake_nvml.Card("GPU-1"), fake_nvml.Card("GPU-2", A100)])

    found = todo(doctor.examine(facts(), got(), 0.1, 0.0, ambiguous=nvml.ambiguous({})))

    assert found == {"GPU order": "set CUDA_DEVICE_ORDER=PCI_BUS_ID"}


class NoLaboratory:
    """Where no process is started; takes what ``spread.new_laboratory`` takes."""

    def __init__(self, *arguments, **keywords):
        self.scratch = arguments[0]

    def close(self):
        pass


@pytest.mark.parametrize("device_absent", [None, "no device (no NVIDIA driver)"])
def test_cells_are_timed_on_every_device_that_is_here(monkeypatch, tmp_path, device_absent):
    timed = []

    def launches(cells, count, home, *, seconds, say):
        timed.extend(cell.id for cell in cells)
        if cells[0].target.device == "cuda":
            raise RuntimeError("out of memory")
        return [
            spread.Launch(launch, cell.id, side, 1.0, 1.0)
            for launch in range(count)
            for cell in cells
            for side in spread.SIDES
        ]

    monkeypatch.setattr(spread, "launches", launches)
    monkeypatch.setattr(spread, "new_laboratory", NoLaboratory)
    monkeypatch.setattr(doctor.GroupReference, "conditions", lambda self: got())
    monkeypatch.setattr(
        targets, "absent", lambda device: device_absent if device == "cuda" else None
    )
    told = []

    status = doctor.run(2, tmp_path, str, told.append)

    on_cuda = [cell for cell in timed if "cuda" in cell]
    assert len(timed) - len(on_cuda) == len(reference_cells.SIX) * 2 == 6
    assert "\n6 cells on the CPU, 4 fresh processes each way:" in told
    if device_absent is None:
        assert on_cuda == [
            f"{case.name}-{next(iter(case.shapes))}-cuda-{backend}-fp32"
            for case in reference_cells.SIX
            for backend in ("eager", "compile")
        ]
        assert any("cells on the GPU" in line and "out of memory" in line for line in told)
        assert status == 1
        assert told[-1].startswith(f"\n{sum(line.startswith('! ') for line in told)} of ")
    else:
        assert on_cuda == []


def test_one_process_is_no_spread(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--launches", "1"])

    assert ended.value.code == 2
    assert "at least 2" in capsys.readouterr().err
