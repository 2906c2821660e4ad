"""The environment that measuring processes get, and how many threads: what is dropped, set,
kept.
"""

import builtins
import os
from pathlib import Path

import pytest

from paritygate.host import machine
from paritygate.process import environment

CACHE = Path("/somewhere/cache")
USERS = {
    "PATH": "/usr/bin",
    "HOME": "/home/me",
    "HF_HOME": "/models",
    "CXX": "clang++",
    "XDG_CACHE_HOME": "/cache",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_TOP_PAD_": "1",
    "GLIBC_TUNABLES": "x",
    "LD_PRELOAD": "libjemalloc.so",
    "OMP_PROC_BIND": "true",
    "OMP_NUM_THREADS": "64",
    "KMP_AFFINITY": "x",
    "MKL_NUM_THREADS": "64",
    "GOMP_CPU_AFFINITY": "0",
    "OPENBLAS_NUM_THREADS": "8",
    "TORCHINDUCTOR_FREEZING": "1",
    "TORCHDYNAMO_DISABLE": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "DNNL_VERBOSE": "1",
    "ATEN_CPU_CAPABILITY": "default",
    "PYTORCH_CUDA_ALLOC_CONF": "x",
    "TRITON_CACHE_DIR": "/mine",
    "PYTHONHASHSEED": "0",
}
HARMLESS = ("PATH", "HOME", "HF_HOME", "CXX", "XDG_CACHE_HOME")


def made(base=USERS, *, laboratory_on=True, hash_seed=7):
    return environment.environment(
        base, threads=3, cache=CACHE, laboratory=laboratory_on, hash_seed=hash_seed
    )


def test_what_tunes_is_dropped_and_the_rest_is_kept():
    environ = made()
    ours = {name for name in made({}) if name in USERS}
    for name, value in USERS.items():
        if name in HARMLESS:
            assert environ[name] == value
        elif name in ours:
            assert environ[name] != value
        else:
            assert name not in environ


def test_where_a_tool_lies_is_no_tuning():
    places = {"TRITON_PTXAS_PATH": "/opt/cuda/bin/ptxas", "TRITON_LIBCUDA_PATH": "/opt/driver"}

    assert places.items() <= made({**USERS, **places}).items()


def test_the_laboratory_sets_allocator_threads_and_hash_seed():
    environ = made()
    assert environ["MALLOC_ARENA_MAX"] == "2"
    assert environ["MALLOC_MMAP_THRESHOLD_"] == str(4 << 30)
    assert environ["MALLOC_TRIM_THRESHOLD_"] == str(16 << 30)
    assert environ["THP_MEM_ALLOC_ENABLE"] == "1"
    assert environ["OMP_NUM_THREADS"] == environ["MKL_NUM_THREADS"] == "3"
    assert environ["PYTHONHASHSEED"] == "7"


def test_traps_that_were_measured_are_not_set():
    assert not {"OMP_PROC_BIND", "MALLOC_TOP_PAD_", "GOMP_CPU_AFFINITY"} & set(made({}))


def test_telemetry_and_idle_pools_are_off_and_caches_private_with_and_without_the_laboratory():
    for on in (True, False):
        environ = made(laboratory_on=on)
        assert environ["ORT_DISABLE_TELEMETRY"] == environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
        assert environ["OPENBLAS_NUM_THREADS"] == environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == "1"
        assert environ["TORCHINDUCTOR_CACHE_DIR"] == str(CACHE / "inductor")
        assert environ["TRITON_CACHE_DIR"] == str(CACHE / "triton")


def test_without_the_laboratory_everything_else_stays_the_users():
    environ = made(laboratory_on=False)
    kept = {name for name in USERS if environ.get(name) == USERS[name]}
    assert set(USERS) - kept == {"OPENBLAS_NUM_THREADS", "TRITON_CACHE_DIR"}
    assert "THP_MEM_ALLOC_ENABLE" not in environ


def test_the_hash_seed_is_drawn_anew_for_every_launch():
    assert len({made(hash_seed=None)["PYTHONHASHSEED"] for _ in range(5)}) > 1


def test_the_users_own_environment_is_not_touched():
    base = dict(USERS)
    made(base)
    assert base == USERS


@pytest.mark.parametrize(
    ("given", "offline"),
    [
        ({}, "1"),
        ({"PARITYGATE_BERT": str(Path(__file__).parent)}, "1"),
        ({"PARITYGATE_BERT": "bert-base-uncased"}, None),
        ({"HF_HUB_OFFLINE": "0"}, "0"),
        ({"PARITYGATE_BERT": "bert-base-uncased", "HF_HUB_OFFLINE": "1"}, "1"),
    ],
)
def test_there_is_no_network_unless_a_hub_name_was_given(given, offline):
    assert made(given).get("HF_HUB_OFFLINE") == offline


def test_what_was_asked_for_can_be_read_back():
    asked = environment.asked(made())
    assert asked["MALLOC_ARENA_MAX"] == "2"
    assert asked["OMP_NUM_THREADS"] == "3"
    assert "HOME" not in asked


def fake_files(monkeypatch, files):
    """Under /sys and /proc there is what is given, and nothing else."""

    def read_text(path, *args, **kwargs):
        if str(path) in files:
            return files[str(path)]
        raise FileNotFoundError(str(path))

    monkeypatch.setattr(Path, "read_text", read_text)


V2, V1 = "/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_"


@pytest.mark.parametrize(
    ("cores", "files", "quota", "threads"),
    [
        (8, {}, None, 8),
        (8, {V2: "max 100000\n"}, None, 8),
        (8, {V2: "400000 100000\n"}, 4.0, 4),
        (8, {V2: "250000 100000\n"}, 2.5, 2),
        (8, {V2: "50000 100000\n"}, 0.5, 1),
        (2, {V2: "400000 100000\n"}, 4.0, 2),
        (8, {f"{V1}quota_us": "300000\n", f"{V1}period_us": "100000\n"}, 3.0, 3),
        (8, {f"{V1}quota_us": "-1\n", f"{V1}period_us": "100000\n"}, None, 8),
        (8, {V2: "nonsense"}, None, 8),
    ],
)
def test_threads_are_the_affinity_cut_by_the_quota(monkeypatch, cores, files, quota, threads):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    fake_files(monkeypatch, files)
    assert machine.quota() == quota
    assert machine.threads() == threads


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, None),
        ({"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 5 kB\n"}, 5 * 1024),
        (
            {"/proc/meminfo": "MemAvailable: 5 kB\n", "/sys/fs/cgroup/memory.max": "max\n"},
            5 * 1024,
        ),
        (
            {
                "/proc/meminfo": "MemAvailable: 5 kB\n",
                "/sys/fs/cgroup/memory.max": "4000\n",
                "/sys/fs/cgroup/memory.current": "1000\n",
            },
            3000,
        ),
    ],
)
def test_free_memory_is_the_machines_cut_by_the_groups(monkeypatch, files, left):
    fake_files(monkeypatch, files)
    assert machine.available_memory() == left


def test_kills_for_memory_are_the_groups_or_else_the_machines(monkeypatch):
    fake_files(monkeypatch, {"/sys/fs/cgroup/memory.events": "low 0\noom 5\noom_kill 3\n"})
    assert machine.oom_kills() == 3
    fake_files(monkeypatch, {"/proc/vmstat": "nr_free 1\noom_kill 8\n"})
    assert machine.oom_kills() == 8
    fake_files(monkeypatch, {})
    assert machine.oom_kills() == 0


STAT = "cpu  100 10 50 1000 20 5 5 {steal} 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"


def test_steal_and_busy_time_are_read_from_the_kernels_account(monkeypatch):
    fake_files(monkeypatch, {"/proc/stat": STAT.format(steal=10)})
    before, busy = machine.processor_times(), machine.busy_time()
    assert before == (10, 1200)
    assert busy == 170
    fake_files(monkeypatch, {"/proc/stat": STAT.format(steal=60)})
    assert machine.steal(before, machine.processor_times()) == 1.0
    fake_files(monkeypatch, {})
    assert machine.processor_times() == (0, 0)
    assert machine.busy_time() == 0


def test_the_machines_facts_hold_what_a_comparison_needs_and_nothing_nested():
    facts = machine.facts()
    assert facts["threads"] == machine.threads()
    assert facts["version_torch"].startswith("2.13")
    assert facts["cpu"]
    assert facts["memory_bytes"] > 1 << 30
    assert all(isinstance(value, builtins.str | int | float | None) for value in facts.values())
