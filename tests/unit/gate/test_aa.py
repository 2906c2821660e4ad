"""The A/A protocol's figures, from rows whose truth is known; its runs are real and take minutes,
see the evidence.
"""

from __future__ import annotations

from dataclasses import replace

from paritygate.gate import aa
from paritygate.gate.aa import Row

ROW = Row(
    0,
    "a-b8-cpu-eager-fp32",
    0.0,
    "same",
    0.001,
    -0.002,
    0.004,
    0.004,
    3,
    0.015,
    False,
    7.5,
    100.0,
    "abc",
)


def test_rows_survive_the_file(tmp_path):
    path = tmp_path / "aa.csv"
    rows = [ROW, replace(ROW, run=1, verdict="regressed", planted=0.03, invalid=True)]
    aa._write(path, rows, 2, [0.03])

    assert aa.read(path) == rows
    assert path.read_text().startswith(f"# paritygate aa --runs 2 --plant 0.03 --resume {path}\n")
    assert aa.read(tmp_path / "none.csv") == []


def test_false_reds_come_with_their_bound_and_cells_with_their_spread():
    rows = [replace(ROW, run=number) for number in range(20)]
    text = aa.report(rows)

    assert "false reds: 0 of 20 runs (at most 13.9% at 95 %, Clopper-Pearson)" in text
    assert "95 % intervals that cover 0: 20 of 20 (100.0%)" in text
    assert "time: median 100 s a run of 1 cells, 100.0 s a cell" in text
    assert "a-b8-cpu-eager-fp32: 0.40%, 1.5%, 20 same" in text
    assert "false reds: 1 of 20" in aa.report([*rows[1:], replace(ROW, verdict="unstable")])


def test_a_planted_slowdown_is_power_and_no_false_red():
    rows = [
        ROW,
        replace(
            ROW,
            cell="b-b8-cpu-eager-fp32",
            planted=0.03,
            verdict="regressed",
            effect=0.031,
            low=0.028,
            high=0.034,
        ),
    ]
    text = aa.report(rows)

    assert "false reds: 0 of 1" in text
    assert (
        "planted 3%: 1 of 1 found (1 of 1 where launch pairs spread by at most 1%), bias +0.10%, inter"
        in text
    )
    assert "a cell that ends regressed: median 7.5 s" in text


def test_only_calm_cells_must_be_decided():
    wild = replace(ROW, cell="wild-b8-cpu-eager-fp32", sd=0.04, verdict="inconclusive")
    assert "inconclusive: 0 of 1 among cells" in aa.report([ROW, wild])
    assert "inconclusive: 1 of 2 among cells" in aa.report([ROW, replace(wild, sd=0.01)])


def test_too_few_cells_for_the_plants_are_refused(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(aa, "_cells", lambda select: (["a-b8-cpu-eager-fp32"], ""))

    assert aa.run(tmp_path / "aa.csv", 1, [0.03], "a", said.append) == 2
    assert said == [
        "too few cells: 1 selected, 2 to be made slower; select more with -k, or plant fewer sizes"
    ]


def test_another_project_measures_all_of_its_cells_and_no_cells_are_told(tmp_path, monkeypatch):
    asked, said = [], []
    theirs = {"": (["x-b8-cpu-eager-fp32"], "")}

    def cells(select):
        asked.append(select)
        return theirs.get(select, ([], "pytest said: no tests ran"))

    monkeypatch.setattr(aa, "_cells", cells)
    monkeypatch.setattr(aa, "_gate", lambda number, select, plant: [replace(ROW, run=number)])

    assert aa.run(tmp_path / "aa.csv", 1, [], aa.CELLS, str) == 0
    assert asked == [aa.CELLS, ""]
    assert aa.run(tmp_path / "other.csv", 1, [], "nothing", said.append) == 2
    assert said == ["no cell to measure: pytest said: no tests ran"]


def test_every_run_plants_two_cells_of_each_size(tmp_path, monkeypatch):
    cells = [f"{letter}-b8-cpu-eager-fp32" for letter in "abcdef"]
    planted = []
    monkeypatch.setattr(aa, "_cells", lambda select: (cells, ""))
    monkeypatch.setattr(
        aa,
        "_gate",
        lambda number, select, plant: planted.append(plant) or [replace(ROW, run=number)],
    )
    aa.run(tmp_path / "aa.csv", 2, [0.03, 0.1], "a", str)

    assert [sorted(plant.values()) for plant in planted] == [[0.03, 0.03, 0.1, 0.1]] * 2
    assert set(planted[0]) != set(planted[1])


def test_evidence_of_other_code_is_stale(tmp_path):
    path = tmp_path / "aa.csv"
    aa._write(path, [ROW], 1, [])
    said = []

    assert aa.run(path, 1, [], "nothing", said.append) == 2
    assert "stale" in said[0]
