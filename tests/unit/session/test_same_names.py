"""Suites in two folders, each with a module of the same name: every case gets the one of its own
suite.
"""

from __future__ import annotations

import pytest

from paritygate.core.budgets import BUDGETS
from paritygate.core.case import Case
from paritygate.core.declaration import DeclarationError
from paritygate.host.lookup import Lookup, Suites
from paritygate.runtime import sources
from paritygate.session.matrix import Matrix
from paritygate.session.options import Options

# -- two cases of one name


def test_two_other_cases_of_one_name_are_named_with_their_suites(tmp_path):
    matrix = Matrix(Options([], BUDGETS["quick"], False, 0, None, {}))
    one, two = (
        Case("one", model="m:M", inputs="m:i", shapes={"b1": {"batch": size}}) for size in (1, 2)
    )
    matrix.cells([one], timed=False, suite=tmp_path / "a")

    with pytest.raises(
        DeclarationError,
        match=rf"two cases are named 'one' \(in {tmp_path}/a and in {tmp_path}/b\)",
    ):
        matrix.cells([two], timed=False, suite=tmp_path / "b")


# -- the order of a path, without a process


def order(root, path, suites, suite, configured=(), places=None):
    for folder in [*path, *suites]:
        (root / folder).mkdir(parents=True, exist_ok=True)
    known = Suites([root / entry for entry in configured])
    for folder in suites:
        known.add(root / folder / "test_it.py")
    at = {str(root / entry): root / place for entry, place in (places or {}).items()}
    found = Lookup(known, [str(root / entry) for entry in path], at).order(str(root / suite))

    def short(entries):
        return [entry.removeprefix(f"{root}/") for entry in entries]

    return None if found is None else (short(found.path), short(found.theirs))


@pytest.mark.parametrize(
    ("path", "suites", "suite", "wanted"),
    [
        (["b", "a", "src"], "ab", "a", (["a", "b", "src"], ["b"])),
        (["b", "a", "src"], "ab", "b", (["b", "a", "src"], ["a"])),
        (["src", "b", "a"], "ab", "a", (["src", "a", "b"], ["b"])),
        (["a", "src"], "a", "a", None),
        (["a", "src"], "ab", "a", None),
        (
            ["b/deep", "b", "a", "src"],
            ["a", "b", "b/deep"],
            "b",
            (["b/deep", "b", "a", "src"], ["b/deep", "a"]),
        ),
    ],
)
def test_own_folders_come_where_the_first_of_another_suite_was(
    tmp_path, path, suites, suite, wanted
):
    assert order(tmp_path, path, suites, suite) == wanted


def test_what_the_user_put_on_the_path_stays_part_of_it(tmp_path):
    assert order(tmp_path, ["b", "a", "src"], "ab", "a", configured="b") == (["a", "b", "src"], [])


def test_a_slot_stays_in_front_and_is_ordered_like_the_folders_it_stands_for(tmp_path):
    places = {"slot/b": "b", "slot/a": "a", "slot": "."}
    found = order(tmp_path, ["slot/b", "slot/a", "slot", "b", "a"], "ab", "a", places=places)

    assert found == (["slot/a", "slot/b", "slot", "a", "b"], ["slot/b", "b"])


def test_what_is_installed_is_no_suites_own(tmp_path):
    path = ["a", "venv/site-packages"]

    assert order(tmp_path, path, ["a", "venv/site-packages/pkg/tests"], "a") is None


def test_entries_that_nobody_ordered_keep_their_places():
    assert sources._reordered(["x", "b", "y", "a", "b", "z"], ["a", "b", "gone"]) == [
        "x",
        "a",
        "y",
        "b",
        "z",
    ]
