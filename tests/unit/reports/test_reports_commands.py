"""``paritygate``: what it prints, what it ends with, and that a wrong use changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from paritygate.__main__ import main
from paritygate_reports.store.store import Store
from tests.support.history import FINE, NEW, OLD, WRONG


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "s.sqlite")
    found.write_runs([(OLD, [FINE]), (NEW, [FINE, WRONG])])
    return found


@pytest.fixture
def call(store, capsys):
    """Run a command on the store: (exit status, what it printed, what it complained of)."""

    def run(*arguments):
        try:
            status = main(["--store", store.name, *arguments])
        except SystemExit as end:
            status = end.code
        return (status, *capsys.readouterr())

    return run


def test_runs_are_listed_the_newest_first_with_how_they_ended(call):
    status, said, _ = call("runs")

    assert status == 0
    newest, oldest = said.splitlines()
    assert newest.startswith("aaab2222  2026-11-21 08:00  topic@fedcba9876*")
    assert newest.endswith(("1 ok, 1 parity failed", "1 parity failed, 1 ok"))
    assert oldest.endswith("1 ok")
    assert call("runs", "-n", "1")[1].splitlines()[1] == "and 1 older; -n 0 lists all"
    assert call("runs", "--branch", "main")[1].startswith("aaaa1111")
    assert "has no run of branch nowhere" in call("runs", "--branch", "nowhere")[1]


@pytest.mark.parametrize(
    ("name", "shown", "status"),
    [
        ("latest", "aaab2222", 1),
        ("aaaa", "aaaa1111", 0),
        ("main", "aaaa1111", 0),
        ("fedcba9", "aaab2222", 1),
    ],
)
def test_a_run_is_shown_by_any_of_its_names_and_one_not_ok_ends_with_1(call, name, shown, status):
    found, said, _ = call("show", name)

    assert found == status
    assert f"run {shown}" in said
    assert "\x1b" not in said  # no terminal, no colours


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("zzz", "has no run 'zzz': give the first characters"),
        ("aaa", "begins the ids of 2 runs, give more of it: aaaa1111, aaab2222"),
    ],
)
def test_a_name_that_is_none_or_more_than_one_is_refused(call, name, why):
    status, said, complained = call("show", name)

    assert (status, said) == (2, "")
    assert why in complained


def test_a_run_is_compared_with_a_branch_the_worst_first(call, store):
    days = [
        replace(OLD, id=f"day {n}", started=f"2026-11-{n:02}T00:00:00+00:00") for n in range(1, 11)
    ]
    other = replace(FINE, cell="d-s-cpu-eager-fp32", case="d")
    store.write_runs(
        (day, [replace(FINE, latency_p50=0.2 + n * 1e-4), other]) for n, day in enumerate(days)
    )
    store.write_runs([(NEW, [replace(FINE, latency_p50=0.3)])])
    status, said, _ = call("compare", "main")
    title, *lines = said.splitlines()

    assert status == 0
    assert title.startswith("run aaab2222 against 11 runs of main; This is advice")
    assert [line.split()[0] for line in lines] == ["regressed", "missing", "broken"]
    assert "+49." in lines[0]
    assert "slower than its last 11 runs let expect" in lines[0]
    assert call("compare", "main", "--strict")[0] == 1
    assert call("compare", "aaaa1111", "latest")[1].count("1 of 8 runs") == 1


def test_prune_keeps_the_newest_and_says_what_goes(call, store):
    assert "1 run would be removed" in call("prune", "--keep", "1", "--dry-run")[1]
    assert len(store.runs()) == 2
    status, said, _ = call("prune", "--keep", "1")

    assert status == 0
    assert said.startswith("aaaa1111")
    assert [run.id for run in store.runs()] == ["aaab2222"]
    assert store.records("aaaa1111") == []
    assert call("prune", "--keep", "-1")[0] == 2


def test_a_store_that_is_not_there_is_named_and_not_made(tmp_path, capsys):
    path = tmp_path / "none.sqlite"

    assert main(["--store", str(path), "runs"]) == 2
    assert f"there is no store {path}" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.parametrize("command", ["runs", "show", "compare", "export", "import", "prune"])
def test_help_shows_examples(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])

    assert end.value.code == 0
    assert f"paritygate {command}" in capsys.readouterr().out.replace("--store all.sqlite ", "")
