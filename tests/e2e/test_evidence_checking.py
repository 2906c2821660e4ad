"""Evidence of checks that never ran must not look like evidence without failures."""

from __future__ import annotations

import pytest

from evidence.checking import check
from paritygate_reports.store.store import Store


def test_cells_are_checked_and_their_records_kept(project):
    store = Store(project.path / "evidence.sqlite")
    check(str(project.path), store.url, {"-k": "one", "--bench-targets": "cpu-eager-fp32"})

    (run,) = store.runs()
    assert [str(record.status) for record in store.records(run.id)] == ["ok"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"--bench-targets": "nowhere"}, "names no target"),
        ({"-k": "one or ("}, "Wrong expression"),
        ({"-k": "neither"}, "deselected"),
    ],
)
def test_a_pytest_that_checked_nothing_ends_the_script(project, options, said):
    with pytest.raises(SystemExit, match=said):
        check(str(project.path), project.path / "evidence.sqlite", options)
