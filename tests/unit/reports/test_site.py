"""A site: a page for each branch on each machine, each with its own history only."""

from __future__ import annotations

import json
import re

import pytest

from paritygate.__main__ import main
from paritygate_reports.store.store import Store
from paritygate_reports.view.site import parts
from tests.support import history


@pytest.fixture(name="store")
def _store(tmp_path):
    store = Store(tmp_path / "s.sqlite")
    store.write_runs(history.runs(days=10))
    store.write_runs(history.runs(history.OTHER, days=5, name="other"))
    store.write_runs(history.runs(branch="topic/<b>", days=2, name="topic"))
    return store


def test_there_is_a_part_for_each_branch_on_each_machine(store):
    found = parts(store)

    assert [(part.machine, part.branch, len(part.runs)) for part in found] == [
        ("EPYC, 2 cores", "main", 10),
        ("EPYC, 2 cores", "topic/<b>", 2),
        ("Xeon, 2 cores", "main", 5),
    ]
    assert len({part.file for part in found}) == 3
    assert [part.branch for part in parts(store, ["main"])] == ["main", "main"]


def test_the_pages_share_one_script_and_are_linked(store, tmp_path, capsys):
    folder = tmp_path / "public"
    folder.mkdir()
    (folder / "CNAME").write_text("mine")
    status = main(["--store", store.name, "site", str(folder)])

    assert status == 0
    assert "3 pages and" in capsys.readouterr().out
    names = {path.name for path in folder.iterdir()}
    assert names == {"index.html", "plotly.min.js", "CNAME", *(part.file for part in parts(store))}
    index = (folder / "index.html").read_text()
    assert all(f'href="{part.file}"' in index for part in parts(store))
    assert "topic/&lt;b&gt;" in index


def test_a_page_holds_the_history_of_its_machine_only(store, tmp_path):
    main(["--store", store.name, "site", str(tmp_path / "public"), "--branch", "main"])
    xeon = next(part for part in parts(store) if part.machine.startswith("Xeon"))
    html = (tmp_path / "public" / xeon.file).read_text()
    choices = json.loads(re.search(r'id="choices">(.*?)</script>', html, re.S)[1])

    assert {len(figures["trend"]["data"][0]["x"]) for figures in choices["series"].values()} == {5}
