"""The plugin as pytest finds it in an environment: silent in projects without cells, there at the
first one.
"""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support import imports
from tests.support.project import CASES, EAGER, IMPORTS, SUITE

NO_TIMES = re.compile(r"\d+\.\d+s")
LIGHT = {
    "paritygate",
    "paritygate.plugin",
    "paritygate.plugin.hookspecs",
    "paritygate.plugin.options",
    "paritygate_reports",
    "paritygate_reports.places",
    "paritygate_reports.plugin",
}


@pytest.fixture
def foreign(project):
    """A project that knows nothing of paritygate, and uses our names for folders and a fixture of
    its own.
    """
    for name in ("conftest.py", "my_model.py", "test_my_model.py"):
        (project.path / name).unlink()
    for name in ("bench", "reports", "models"):
        (project.path / name).mkdir()
    project.write("bench/__init__.py", "HERE = 'theirs'")
    project.write("reports/plugin.py", "HERE = 'theirs'")  # a folder without __init__.py
    project.write("models/__init__.py", "")
    project.write(
        "conftest.py", "import pytest\n\n@pytest.fixture\ndef cell():\n    return 'theirs'\n"
    )
    project.write(
        "test_theirs.py",
        """
        from bench import HERE
        from reports import plugin

        def test_names(cell):
            assert HERE == plugin.HERE == cell == "theirs"
    """,
    )
    return project


def test_a_project_without_cells_sees_nothing_of_it(foreign):
    with_it = foreign.run("-v", targets=None)
    without = foreign.run(
        "-v", "-p", "no:paritygate.plugin", "-p", "no:paritygate_reports.plugin", targets=None
    )
    shown = [
        [
            NO_TIMES.sub("s", line) for line in run.outlines if not line.startswith("plugins:")
        ]  # what is installed
        for run in (with_it, without)
    ]

    assert with_it.ret == without.ret == 0
    assert shown[0] == shown[1]
    assert not (foreign.path / ".paritygate").exists()


def test_a_project_without_cells_imports_next_to_nothing_of_it(foreign):
    ran = imports.run(imports.PYTEST, cwd=foreign.path)

    assert ran.status == 0
    assert {name for name in ran.modules if name.startswith("paritygate")} == LIGHT


def test_a_module_of_the_users_named_like_our_folder_is_the_users(foreign):
    (foreign.path / "bench" / "__init__.py").unlink()
    (foreign.path / "bench").rmdir()
    foreign.write("bench.py", "HERE = 'theirs'")

    assert foreign.run(targets=None).ret == 0


MARKS = {
    "function": SUITE,
    "one line": "test_parity, test_throughput = cell_tests(CASES)\n",
    "module": """
        pytestmark = pytest.mark.cells(CASES)

        def test_parity(cell):
            cell.assert_parity()

        def test_throughput(cell, benchmark):
            cell.measure(benchmark)
    """,
    "class": """
        @pytest.mark.cells(CASES)
        class TestBoth:
            def test_parity(self, cell):
                cell.assert_parity()

            def test_throughput(self, cell, benchmark):
                cell.measure(benchmark)
    """,
}


@pytest.mark.parametrize("how", MARKS)
def test_the_first_cell_begins_it_without_a_line_in_conftest(project, how):
    (project.path / "conftest.py").unlink()
    project.write("pytest.ini", "[pytest]\nmarkers =\n")  # no value of ours
    project.write("test_a_first.py", "def test_theirs(): pass")
    project.suite(
        CASES.replace('Case("one"', f'Case("one", targets=("{EAGER}",)').replace(
            'Case("two"', f'Case("two", targets=("{EAGER}",)'
        ),
        MARKS[how],
    )
    project.write(
        "test_my_model.py",
        (project.path / "test_my_model.py")
        .read_text()
        .replace(IMPORTS, IMPORTS.replace("Shape", "Shape, cell_tests")),
    )
    result = project.run(targets=None)

    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(
        ["paritygate: budget quick, *", "paritygate: 2 cells in 2 groups, *", "*= paritygate =*"]
    )
    assert project.statuses() == {"one-b8-cpu-eager-fp32": "ok", "two-b4-cpu-eager-fp32": "ok"}


def test_it_works_without_its_reports(project):
    (project.path / "conftest.py").unlink()
    result = project.run("-p", "no:paritygate_reports.plugin")

    result.assert_outcomes(passed=4)
    assert "= paritygate =" not in result.stdout.str()


def test_a_conftest_that_names_the_plugins_loads_them_once(project):
    """As an uninstalled checkout must; conftest.py of the fixture does so."""
    assert project.run("-k", "one").ret == 0
    below = project.path / "perf" / "deep"
    below.mkdir(parents=True)
    for name in ("my_model.py", "test_my_model.py"):
        (project.path / name).rename(below / name)
    (project.path / "conftest.py").write_text("")
    project.write("perf/conftest.py", "def pytest_paritygate_backends(config):\n    return None\n")

    assert project.run("perf").ret == 0


def test_a_run_leaves_a_checkout_clean(project):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(project.path)]
    project.write(".gitignore", "__pycache__/\n.pytest_cache/\n.benchmarks/\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    project.run("-k", "one")

    assert (project.path / ".paritygate" / "store.sqlite").exists()
    assert (
        subprocess.run(
            [*git, "status", "--porcelain", ".paritygate"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        == ""
    )
