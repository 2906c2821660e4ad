"""The shards of a CI matrix become one run, and whatever is missing or contradicts itself is
named.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from paritygate.__main__ import main
from paritygate.core.record import SCHEMA, Record, Run, Status
from paritygate_reports.files import runfiles
from paritygate_reports.files.jsontext import FileError
from paritygate_reports.files.shards import Shard, merged, missing
from paritygate_reports.store.store import Store

MACHINE = {"cpu": "EPYC", "threads": 2, "version_torch": "2.13.0"}
RUN = Run(
    "id-1",
    "2026-11-22T08:00:00+00:00",
    "quick",
    True,
    0,
    commit="0123",
    branch="main",
    dirty=False,
    environment=MACHINE | {"load_at_start": 0.5},
    absent={"cuda": "no driver", "mps": "no Mac"},
)


def record(name, **changes):
    return Record(
        f"{name}-s-cpu-eager-fp32", name, "s", "cpu", "eager", "fp32", Status.OK, **changes
    )


def shard(number, *names, **changes):
    run = replace(
        RUN, id=f"id-{number}", started=f"2026-11-22T08:0{9 - number}:00+00:00", **changes
    )
    return Shard(
        Path(f"shard-{number}.json"), run, [record(name, samples=[0.1 * number]) for name in names]
    )


def test_shards_become_one_run_with_all_their_cells():
    load = MACHINE | {"load_at_start": 0.75, "total_seconds": 9.0}
    run, records = merged(
        [shard(1, "a", "b"), shard(2, "c", environment=load, absent={"cuda": "no driver"})]
    )

    assert [found.cell for found in records] == [f"{name}-s-cpu-eager-fp32" for name in "abc"]
    assert records[2].samples == [0.2]
    assert (run.commit, run.branch, run.budget, run.seed, run.laboratory) == (
        "0123",
        "main",
        "quick",
        0,
        True,
    )
    assert run.started == "2026-11-22T08:07:00+00:00"  # the earliest
    assert run.absent == {"cuda": "no driver"}  # in every shard
    assert run.environment == MACHINE | {
        "shards": [
            {"id": "id-1", "started": "2026-11-22T08:08:00+00:00", "load_at_start": 0.5},
            {
                "id": "id-2",
                "started": "2026-11-22T08:07:00+00:00",
                "load_at_start": 0.75,
                "total_seconds": 9.0,
            },
        ]
    }


def test_the_same_shards_are_the_same_run_in_whatever_order():
    one, two, three = shard(1, "a"), shard(2, "b"), shard(3, "c")
    assert merged([one, two])[0].id == merged([two, one])[0].id
    assert (
        len(
            {
                run.id
                for run in (one.run, two.run, merged([one, two])[0], merged([one, two, three])[0])
            }
        )
        == 4
    )


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"commit": "4567"}, "commit 0123 and 4567"),
        ({"branch": None}, "branch main and None"),
        ({"dirty": True}, "dirty False and True"),
        ({"budget": "long"}, "budget quick and long"),
        ({"seed": 1}, "seed 0 and 1"),
        ({"laboratory": False}, "laboratory True and False"),
        ({"schema": SCHEMA - 1}, f"schema {SCHEMA} and {SCHEMA - 1}"),
        ({"environment": MACHINE | {"cpu": "Xeon"}}, "cpu EPYC and Xeon"),
        ({"environment": {"cpu": "EPYC", "threads": 2}}, "version_torch 2.13.0 and None"),
    ],
)
def test_runs_of_other_code_conditions_or_machines_are_no_shards(changes, fact):
    with pytest.raises(FileError) as caught:
        merged([shard(1, "a"), shard(2, "b", **changes)])

    assert str(caught.value) == (
        f"shard-1.json and shard-2.json are no shards of one run ({fact}): import them "
        "without --as-one, as runs of their own"
    )


def test_a_cell_in_two_shards_must_be_the_same_in_both():
    one, two = shard(1, "a", "b"), shard(2, "c")
    with pytest.raises(
        FileError, match=r"shard-1\.json and shard-2\.json both hold b-s-cpu-eager-fp32"
    ):
        merged([one, two._replace(records=[*two.records, record("b", samples=[0.3])])])
    same = [*two.records, record("b", samples=[0.1])]
    assert [found.case for found in merged([one, two._replace(records=same)])[1]] == ["a", "b", "c"]


def test_a_run_of_the_gate_is_no_shard():
    with pytest.raises(FileError, match=r"shard-2\.json is a run of the gate"):
        merged([shard(1, "a"), shard(2, "b", environment=MACHINE | {"gate": {}})])


@pytest.mark.parametrize(
    ("names", "count", "found"),
    [
        (["s-1.json", "s-3.json", "s-4.json"], 4, ["s-2.json"]),
        (["d/0/r.json", "d/2/r.json"], 4, ["d/1/r.json", "d/3/r.json"]),
        (["run-09.json", "run-10.json"], 10, [f"run-0{n}.json" for n in range(1, 9)]),
        (["a.json", "b.json"], 2, []),
        (["py3-1-of-3.json", "py3-3-of-3.json"], 3, ["py3-2-of-3.json"]),
        (
            ["bert.json", "cnn.json"],
            3,
            ["1 of 3 shards (the names do not show which); there are bert.json, cnn.json"],
        ),
        (
            ["s-7.json", "s-9.json"],
            3,
            ["1 of 3 shards (the names do not show which); there are s-7.json, s-9.json"],
        ),
        (
            ["a.json", "b-2.json"],
            3,
            ["1 of 3 shards (the names do not show which); there are a.json, b-2.json"],
        ),
        (["s-1.json"], 2, ["1 of 2 shards (the names do not show which); there are s-1.json"]),
    ],
)
def test_a_missing_shard_is_named_where_the_names_say_it(names, count, found):
    assert missing([Path(name) for name in names], count) == found


@pytest.fixture(name="folder")
def _folder(tmp_path):
    """Three shards, and the list of their five cells."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number, names in enumerate(("ab", "cd", "e"), 1):
        found = shard(number, *names)
        runfiles.write_json(folder / found.path, found.run, found.records)
    lines = [f"bench/test_x.py::test_parity[{name}-s-cpu-eager-fp32]" for name in "abcde"]
    (tmp_path / "cells.txt").write_text("\n".join([*lines, "", "5 tests collected in 0.1s"]))
    return folder


def import_(folder, *arguments):
    store = folder.parent / "s.sqlite"
    cells = ["--cells", str(folder.parent / "cells.txt")]
    return main(
        [
            "--store",
            str(store),
            "import",
            "--as-one",
            str(folder),
            "--shards",
            "3",
            *cells,
            *arguments,
        ]
    )


def test_a_complete_matrix_is_imported_as_one_run_and_again_doubles_nothing(folder, capsys):
    assert (import_(folder), import_(folder)) == (0, 0)
    store = Store(folder.parent / "s.sqlite")
    (run,) = store.runs()
    assert [found.case for found in store.records(run.id, samples=True)] == list("abcde")
    assert "1 run with 5 cells" in capsys.readouterr().out


def test_a_missing_shard_and_its_cells_are_named_and_nothing_is_written(folder, capsys):
    (folder / "shard-2.json").unlink()
    assert import_(folder) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"missing shard: {folder / 'shard-2.json'}",
        "missing cell: c-s-cpu-eager-fp32",
        "missing cell: d-s-cpu-eager-fp32",
        "nothing was written: the run is not complete",
    ]
    assert not (folder.parent / "s.sqlite").exists()


def test_a_cell_that_no_shard_holds_is_named_though_all_files_are_there(folder, capsys):
    path = folder / "shard-2.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"records": found["records"][:1]}))  # the job ended early
    assert import_(folder) == 1
    assert "missing cell: d-s-cpu-eager-fp32" in capsys.readouterr().err
    assert not (folder.parent / "s.sqlite").exists()


def test_a_cell_that_nobody_expected_is_named(folder, capsys):
    cells = folder.parent / "cells.txt"
    cells.write_text(cells.read_text().replace("[e-", "[a-"))
    assert import_(folder) == 0
    assert f"not expected by {cells}: e-s-cpu-eager-fp32" in capsys.readouterr().out


def test_wrong_uses_are_refused(folder, capsys):
    (folder / "more.json").write_text((folder / "shard-1.json").read_text())
    assert import_(folder) == 2
    assert "there are 4 files, and --shards 3" in capsys.readouterr().err
    assert main(["import", str(folder), "--shards", "3"]) == 2
    assert "need --as-one" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["import", str(folder), "--as-one", "--shards", "0"])
    assert not (folder.parent / "s.sqlite").exists()
