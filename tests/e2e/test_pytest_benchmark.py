"""Files that pytest-benchmark really writes, read as runs: every benchmark is a cell, and ours are
theirs again.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from paritygate.__main__ import main
from paritygate_reports.files import runfiles
from paritygate_reports.files.jsontext import FileError
from paritygate_reports.files.pytest_benchmark import CELL, foreign
from paritygate_reports.store.store import Store

SUITE = """
import pytest

def test_plain(benchmark):
    benchmark.extra_info["note"] = "kept"
    benchmark(sum, [1, 2])

@pytest.mark.parametrize("size", [10, 1000])
def test_sized(benchmark, size):
    benchmark(sorted, range(size))

@pytest.mark.parametrize("how", ["a-b", "a_b", "A_B", "ü" * 60])
def test_how(benchmark, how):
    benchmark.pedantic(len, args=(how,), rounds=3, iterations=2)

class TestOther:
    def test_plain(self, benchmark):
        benchmark(sum, [1, 2])
"""
GIT = ("git", "-c", "user.name=x", "-c", "user.email=x@y", "-c", "core.hooksPath=/dev/null")


@pytest.fixture(name="written", scope="module")
def _written(tmp_path_factory):
    """A folder in which pytest-benchmark has run once: out.json, and .benchmarks/ of its
    autosave.
    """
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "test_speed.py").write_text(SUITE)
    for command in (["init", "-qb", "work"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*GIT, *command], cwd=folder, check=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "--rootdir=.",
        "--benchmark-max-time=0.02",
        "--benchmark-json=out.json",
        "--benchmark-autosave",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return folder


def test_every_benchmark_becomes_a_cell_with_its_times(written):
    theirs = json.loads((written / "out.json").read_text())
    _, records = runfiles.read(written / "out.json")

    assert (
        len({record.cell for record in records}) == len(records) == len(theirs["benchmarks"]) == 8
    )
    for record, benchmark in zip(records, theirs["benchmarks"], strict=True):
        stats = benchmark["stats"]
        assert CELL.fullmatch(record.cell)
        assert record.cell == "-".join(
            (record.case, record.shape, record.device, record.backend, record.dtype)
        )
        assert (record.latency_p50, record.throughput) == (stats["median"], 1 / stats["median"])
        assert record.latency_p50 <= record.latency_p90 <= record.latency_p99 <= stats["max"]
        assert (record.samples_seen, record.calls_per_sample) == (
            stats["rounds"],
            stats["iterations"],
        )
        assert set(record.samples) <= set(stats["data"])
        assert len(record.samples) == min(2000, stats["rounds"])
        kept = record.facts["pytest_benchmark"]
        assert kept["fullname"] == benchmark["fullname"]
        assert kept["stats"]["stddev"] == stats["stddev"]
        assert "data" not in kept["stats"]
    assert records[0].facts["pytest_benchmark"]["extra_info"] == {"note": "kept"}


def test_the_run_is_of_that_commit_and_machine(written):
    run, _ = runfiles.read(written / "out.json")
    theirs = json.loads((written / "out.json").read_text())
    head = subprocess.run(
        [*GIT, "rev-parse", "HEAD"], cwd=written, capture_output=True, text=True, check=True
    ).stdout

    assert (run.commit, run.branch) == (head.strip(), "work")
    assert run.dirty is theirs["commit_info"]["dirty"]
    assert run.started == datetime.fromisoformat(theirs["datetime"]).isoformat(timespec="seconds")
    assert run.environment["python"] == theirs["machine_info"]["python_version"]
    assert run.environment["cores"] == theirs["machine_info"]["cpu"]["count"]
    assert run.environment["pytest_benchmark"]["machine_info"] == theirs["machine_info"]


def test_names_are_kept_apart_and_stay_the_same():
    one = foreign("test_plain", "test_speed.py::test_plain")
    assert re.fullmatch(r"test_plain_[0-9a-f]{6}-foreign-cpu-python-none", one)
    assert foreign("test_plain", "test_speed.py::TestOther::test_plain") != one
    assert foreign("test_sized[10]", "a.py::test_sized[10]").split("-")[1] == "10"
    cases = {
        foreign(f"t[{given}]", f"a.py::t[{given}]").split("-")[0]
        for given in ("a-b", "a_b", "x[y]", "")
    }
    assert len(cases) == 1
    shapes = [
        foreign(f"t[{given}]", f"a.py::t[{given}]")
        for given in ("a-b", "a_b", "A_B", "a b", "ü" * 60, "x[y]")
    ]
    assert len(set(shapes)) == len(shapes)
    assert all(CELL.fullmatch(cell) for cell in shapes)
    assert one == "test_plain_" + one[11:17] + "-foreign-cpu-python-none"


def test_they_import_with_and_without_single_times_and_again_double_nothing(
    written, tmp_path, url, capsys
):
    for _ in range(2):
        assert (
            main(
                ["--store", url, "import", str(written / "out.json"), str(written / ".benchmarks")]
            )
            == 0
        )
    store = Store(url)
    with_data, without = sorted(
        store.runs(), key=lambda run: not store.records(run.id, samples=True)[0].samples
    )
    assert "2 runs with 16 cells" in capsys.readouterr().out
    assert [r.cell for r in store.records(with_data.id)] == [
        r.cell for r in store.records(without.id)
    ]
    assert [r.latency_p50 for r in store.records(with_data.id)] == [
        r.latency_p50 for r in store.records(without.id)
    ]
    assert {r.latency_p99 for r in store.records(without.id)} == {None}
    assert main(["--store", url, "show", with_data.id]) == 0
    assert "test_plain" in capsys.readouterr().out


def test_our_own_cells_come_back_with_their_parity(project):
    project.backend("off", "tensor + 1")
    project.run(
        "--benchmark-json=out.json",
        "-k",
        "one or throughput",
        targets="cpu-eager-fp32,cpu-off-fp32",
    )
    _, found = runfiles.read(project.path / "out.json")
    kept = project.records(samples=True)

    assert found
    for record in found:
        ours = kept[record.cell]
        for name in (
            "case",
            "shape",
            "device",
            "backend",
            "dtype",
            "status",
            "unit",
            "throughput",
            "speedup",
            "error",
            "error_share",
            "peak_bytes",
            "prepare_seconds",
        ):
            assert getattr(record, name) == getattr(ours, name), name
        assert record.latency_p50 == pytest.approx(ours.latency_p50, rel=1e-6)
        assert record.samples == pytest.approx(ours.samples, rel=1e-6)
        assert record.facts["graph_hash"] == ours.facts["graph_hash"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda found: found | {"benchmarks": []}, "holds no benchmark"),
        (
            lambda found: found | {"benchmarks": found["benchmarks"] * 2},
            "two benchmarks of the cell",
        ),
        (lambda found: {"benchmarks": found["benchmarks"]}, "not what pytest-benchmark"),
        (lambda found: found | {"datetime": "yesterday"}, "not what pytest-benchmark"),
        (lambda found: found | {"benchmarks": [{"name": "x"}]}, "not what pytest-benchmark"),
        (lambda found: found | {"machine_info": None}, "not what pytest-benchmark"),
        (
            lambda found: (
                found
                | {
                    "benchmarks": [
                        found["benchmarks"][0]
                        | {"extra_info": {"cell": "a-b-c-d-e", "error": "much"}}
                    ]
                }
            ),
            "error: 'much'",
        ),
        (
            lambda found: (
                found
                | {
                    "benchmarks": [
                        found["benchmarks"][0]
                        | {"extra_info": {"cell": "a-b-c-d-e", "status": "fine"}}
                    ]
                }
            ),
            "'fine'",
        ),
    ],
)
def test_a_file_that_is_none_is_named(written, tmp_path: Path, spoil, why):
    (tmp_path / "b.json").write_text(
        json.dumps(spoil(json.loads((written / "out.json").read_text())))
    )
    with pytest.raises(FileError, match=rf"b\.json .*{why}"):
        runfiles.read(tmp_path / "b.json")


def test_a_file_without_a_repository_or_a_zone_is_a_run_of_no_commit(written, tmp_path):
    found = json.loads((written / "out.json").read_text())
    found |= {
        "commit_info": {"id": "unversioned", "branch": "(unknown)", "dirty": False},
        "datetime": "2019-03-01T12:00:00.123456",
    }
    (tmp_path / "b.json").write_text(json.dumps(found))
    run, _ = runfiles.read(tmp_path / "b.json")

    assert (run.commit, run.branch, run.dirty, run.started) == (
        None,
        None,
        None,
        "2019-03-01T12:00:00+00:00",
    )
