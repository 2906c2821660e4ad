"""Make ``reports/evidence/moved_tests.csv``: where each test of an older revision is now.

    python -m bench.evidence.moved_tests 5c4c6e6

Collect the tests of that revision and of this checkout, and match them by the name of the function.
A test that no longer exists must have a row in ``MERGED`` with its reason. Tests without one are
listed, and the exit status is 1.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from evidence import command_line

OUT = Path("reports/evidence/moved_tests.csv")
FEWER = {
    "test_parity": "the sample of the zoo follows the commit",
    "test_models_know_nothing_of_the_harness": "one a file of models/: whole.py went into weights.py",
    "test_the_fixture_without_the_mark_is_an_error_that_names_the_test": "a misspelt mark is found at "
    "collection, by test_a_misspelt_mark_is_told_at_collection_also_without_any_option",
}
"""Name of a test that may have fewer cases than before -> the reason."""
MERGED = {
    "test_however_a_record_ends_its_reason_has_no_codes_and_all_lines": (
        "test_however_a_cell_ends_its_reason_has_no_codes_and_all_lines",
        "all three ways make one End, which cleans the reason",
    ),
    **dict.fromkeys(
        (
            "test_unchanged_code_is_the_same_and_nothing_is_left_behind",
            "test_no_more_than_two_workers_of_a_cell_are_alive",
            "test_a_cell_that_was_deselected_is_not_lost",
        ),
        (
            "test_the_same_work_is_the_same_and_nothing_is_left_behind",
            "one real gate run serves all three",
        ),
    ),
    **dict.fromkeys(
        (
            "test_other_numbers_are_named_even_where_they_pass",
            "test_weights_that_do_not_fit_are_not_compared_and_speed_still_is",
        ),
        (
            "test_other_numbers_and_weights_that_do_not_fit_are_named_and_speed_is_compared",
            "one real gate run with a cell for each",
        ),
    ),
    "test_a_course_that_ends_early_is_inconclusive_and_says_what_it_would_have_seen": (
        "test_a_course_that_ends_early_is_inconclusive_and_promises_nothing",
        "what the last look would have seen is said only after it",
    ),
    "test_modules_from_elsewhere_are_strangers": (
        "test_a_root_a_package_and_a_module_are_sources",
        "asked for each kind of source",
    ),
}
"""Name of a test that is gone -> the test that asserts the same now, and the reason."""


def main() -> None:
    """Write the table; list what is gone without a reason."""
    parser = command_line.parser()
    parser.add_argument("revision", help="the older one")
    revision = parser.parse_args().revision
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "old"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", tree, revision], check=True)
        try:
            old = collected(tree)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], check=True)
    new = collected(Path.cwd())
    moved = renames(revision)
    places: dict[str, list[str]] = {}
    for place in new:
        places.setdefault(place.partition("::")[2], []).append(place)
    lost = []
    with OUT.open("w", newline="") as file:
        file.write(f"# python -m bench.evidence.moved_tests {revision}\n")
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["before", "cases_before", "now", "cases_now", "reason"])
        for place, cases in sorted(old.items()):
            path, _, name = place.partition("::")
            found = places.get(name, [])
            if len(found) > 1:  # the same name in two files
                found = [one for one in found if one.partition("::")[0] == moved.get(path, path)]
            reason = ""
            if not found and name in MERGED:
                now, reason = MERGED[name]
                found = places[now]
            elif len(found) == 1 and new[found[0]] < cases:
                reason = FEWER.get(name, "")
                found = found if reason else []
            if len(found) == 1:
                table.writerow([place, cases, found[0], new[found[0]], reason])
            else:
                lost.append(f"{place}: {cases} cases before, now {places.get(name, 'nowhere')}")
    print(f"{len(old)} tests before, {len(new)} now, {len(lost)} gone without a reason")
    if lost:
        sys.exit("\n".join(lost))


def renames(revision: str) -> dict[str, str]:
    """Return the files of tests that git sees renamed since a revision: old path -> new path."""
    command = ["git", "diff", "--name-status", "--find-renames=40%", revision, "--", "tests"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines() if line.startswith("R")]
    return {before: after for _, before, after in rows}


def collected(tree: Path) -> Counter[str]:
    """Return how many cases each test of a checkout has, by ``file::function``."""
    command = [sys.executable, "-m", "pytest", "tests", "--collect-only", "-q"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=tree, capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("tests/")]
    if done.returncode or not lines:
        sys.exit(f"pytest could not collect the tests of {tree}:\n{done.stdout[-2000:]}")
    return Counter(line.partition("[")[0] for line in lines)


if __name__ == "__main__":
    main()
