"""A comparison with runs of other days in every form, from the command line and beside pytest's
table.
"""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pandas as pd
import pytest

from paritygate.__main__ import main
from paritygate_reports.analysis.against_history import advise
from paritygate_reports.commands.compare import FORMATS as NAMES
from paritygate_reports.renderers.against_history import FORMATS, markdown
from paritygate_reports.store.store import Store
from tests.support import history


@pytest.fixture(name="store")
def _store(tmp_path):
    store = Store(tmp_path / "s.sqlite")
    store.write_runs(history.runs(days=history.CHANGED + 1))  # the last one is slower by a fifth
    return store


@pytest.fixture(name="advice")
def _advice(store):
    return advise(store, "main", store.find("latest"))


def test_the_worst_cell_comes_first(advice):
    assert [row["verdict"] for row in advice.rows[:2]] == ["regressed", "broken"]
    assert advice.rows[0]["cell"] == history.COMPILED.cell
    assert advice.bad
    assert advice.title == f"run day-{history.CHANGED:03}"[:12] + " against 28 runs of main"


def test_the_command_knows_every_form():
    assert set(NAMES) == set(FORMATS)


def test_every_form_tells_the_same_cells(advice):
    told = FORMATS["terminal"](advice).decode()
    frames = [
        pd.read_csv(io.BytesIO(FORMATS["csv"](advice))),
        pd.read_parquet(io.BytesIO(FORMATS["parquet"](advice))),
        pd.DataFrame(json.loads(FORMATS["json"](advice))["cells"]),
    ]

    assert told.splitlines()[1].startswith("regressed      +")
    for frame in frames:
        effects = frame.set_index("cell")["effect"].astype(float)
        assert effects[history.COMPILED.cell] == pytest.approx(history.STEP - 1, abs=0.03)
        assert set(frame["cell"]) == {
            history.EAGER.cell,
            history.COMPILED.cell,
            history.FAILED.cell,
        }


def test_markdown_shows_what_is_bad_and_folds_the_rest(advice):
    shown, _, folded = markdown(advice).decode().partition("<details>")

    assert "## paritygate: slower, broken or missing" in shown
    assert "| regressed | +" in shown
    assert history.EAGER.cell not in shown
    assert history.EAGER.cell in folded


def test_foreign_text_is_no_markup(advice):
    frame = advice.frame.assign(reason="|x|<img src=x>@you")
    told = markdown(replace(advice, baseline="<b>", frame=frame)).decode()

    assert "<img" not in told
    assert "<b>" not in told
    assert "|x|" not in told


def test_a_single_run_gives_a_ratio_without_a_verdict(store):
    (row,) = [
        row
        for row in advise(store, "day-000", store.find("latest")).rows
        if row["cell"] == history.COMPILED.cell
    ]

    assert row["verdict"] == "inconclusive"
    assert row["reason"] == "1 of 8 runs"
    assert row["effect"] == pytest.approx(history.STEP - 1, abs=0.05)
    assert row["low"] is None


@pytest.mark.parametrize("suffix", ["md", "csv", "json", "parquet"])
def test_the_command_writes_files_by_their_suffix(store, tmp_path, suffix, capsys):
    path = tmp_path / "out" / f"advice.{suffix}"

    assert main(["--store", store.name, "compare", "main", "-o", str(path)]) == 0
    assert path.stat().st_size > 100
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-o", "advice.pdf"], "advice.pdf must end in one of .md, .csv, .json, .parquet"),
        (["--format", "parquet"], "name a file with -o"),
    ],
)
def test_what_cannot_be_written_is_refused(store, arguments, why, capsys):
    assert main(["--store", store.name, "compare", "main", *arguments]) == 2
    assert why in capsys.readouterr().err


def test_json_can_be_piped(store, capsys):
    main(["--store", store.name, "compare", "main", "--format", "json"])

    assert json.loads(capsys.readouterr().out)["against"] == "main"


def test_a_run_is_not_compared_with_itself(store, capsys):
    assert main(["--store", store.name, "compare", "latest"]) == 2
    assert "is run day-028 itself" in capsys.readouterr().err


def test_a_known_gap_fails_nothing(store):
    run, records = history.runs(days=history.CHANGED)[-1]
    gap = replace(records[2], facts={"known_gap": "rounds otherwise"})
    store.write_runs(
        [(replace(run, id="later", started="2026-12-01T00:00:00+00:00"), [*records[:2], gap])]
    )
    advice = advise(store, "main", store.find("later"))
    (row,) = [row for row in advice.rows if row["cell"] == gap.cell]

    assert (row["verdict"], row["reason"][:14]) == ("not_comparable", "known failure,")
    assert not advice.bad


def test_nothing_comparable_is_not_called_fine(store):
    told = markdown(advise(store, "day-000", store.find("day-001"))).decode()

    assert "nothing slower" not in told
