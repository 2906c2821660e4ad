"""A store that an earlier version has made opens, and is told of in the same words."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from paritygate import __main__ as command
from paritygate_reports.store.store import Store
from tests.support.paths import GOLDEN

TOLD = re.findall(
    r"^\$ (.*?)\n(.*?)\n\$\? (\d)$", (GOLDEN / "store-0968a4c.txt").read_text("utf-8"), re.M | re.S
)
# What has changed on purpose since then: (was, is). Nothing else may.
WORDING = (
    (  # cells of one case that fail alike are told once
        "  failed  slow-b8-cpu-breaks-fp32\n"
        "      ValueError: the fused kernel takes 64 rows at most\n"
        "      this has more\n"
        "  parity_failed  slow-b3",
        "  failed  slow-b8-cpu-breaks-fp32 and 1 more cell\n"
        "      ValueError: the fused kernel takes 64 rows at most\n"
        "      this has more\n"
        "      also slow-b3-cpu-breaks-fp32\n"
        "  parity_failed  slow-b3",
    ),
    (
        "  failed  slow-b3-cpu-breaks-fp32\n"
        "      ValueError: the fused kernel takes 64 rows at most\n"
        "      this has more\n",
        "",
    ),
    ("  known gap: ", "  known failure: "),
    ("2 known\n  gaps\n", "2 known\n  failures\n"),
    ("\nknown gaps\n", "\nknown failures\n"),
    ("Runs of other days advise;", "This is advice;"),
)


@pytest.fixture(name="store")
def _store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "24")
    connection = sqlite3.connect("store.sqlite")
    connection.executescript((GOLDEN / "store-0968a4c.sql").read_text("utf-8"))
    connection.close()
    return "store.sqlite"


@pytest.mark.parametrize(("asked", "told", "status"), TOLD, ids=[asked for asked, *_ in TOLD])
def test_it_is_told_of_word_for_word(store, capsys, asked, told, status):
    for was, now in WORDING:
        told = told.replace(was, now)
    ended = command.main(["--store", store, *asked.split()])
    shown = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())

    assert shown == told
    assert ended == int(status)


def test_the_golden_text_is_of_every_kind_of_end():
    text = "\n".join(told for _, told, _ in TOLD)

    assert [asked.partition(" ")[0] for asked, *_ in TOLD] == [
        "runs",
        "show",
        "show",
        "show",
        "compare",
        "compare",
        "trend",
    ]
    for word in ("skipped", "failed", "unchecked", "regressed", "inconclusive", "not comparable"):
        assert word in text
    assert all(was in text for was, _ in WORDING)


def test_what_it_has_kept_is_read_whole(store):
    """As many samples and blocks as SQLite itself counts."""
    opened = Store(Path(store), make=False)
    records = [one for run in opened.runs() for one in opened.records(run.id, samples=True)]
    counted = "SELECT count(*), sum(json_array_length(samples)) FROM samples"
    with closing(sqlite3.connect(store)) as connection:
        (rows, samples) = connection.execute(counted).fetchone()

    assert len(opened.runs()) == 11
    assert (len(records), sum(len(record.samples) for record in records)) == (rows, samples)
    assert (rows, samples) == (33, 1027)


def test_it_can_be_written_on(store):
    opened = Store(Path(store))
    run = opened.runs()[0]
    (record, *_) = opened.records(run.id, samples=True)
    opened.write(run, record)

    assert opened.records(run.id, samples=True)[0] == record
