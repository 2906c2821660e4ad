"""What a user writes wrongly in a suite is told at collection: one message, with the line of the
suite and what to write.
"""

from __future__ import annotations

import pytest

from tests.support.project import IMPORTS, MODEL

CASE = 'Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}})'
MARKED = "@pytest.mark.cells(CASES)\ndef test_parity(cell):\n    cell.assert_parity()\n"


@pytest.mark.parametrize("mark", ["cell", "case"])
def test_a_misspelt_mark_is_told_at_collection_also_without_any_option(project, mark):
    project.suite(f"CASES = ({CASE},)\n", MARKED.replace("cells", mark))
    result = project.run("-W", "ignore", targets=None)

    result.stdout.fnmatch_lines(
        [
            f"test_my_model.py::test_parity: @pytest.mark.{mark} is given Cases and is no mark of "
            "paritygate; write @pytest.mark.cells(CASES)"
        ]
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_a_missing_mark_is_told_also_without_any_option(project):
    project.suite(f"CASES = ({CASE},)\n", MARKED.partition("\n")[2])
    result = project.run(targets=None)

    result.stdout.fnmatch_lines(["*the fixture `cell` needs @pytest.mark.cells(CASES)*no mark"])
    result.stdout.no_fnmatch_line("*fixture 'cell' not found*")


def test_marks_and_fixtures_of_the_users_own_stay_theirs(project):
    project.suite(
        f"CASES = ({CASE},)\n",
        """
        @pytest.mark.parametrize("case", CASES)
        def test_a_case(case):
            assert case.name == "one"


        @pytest.fixture
        def cell():
            return "of the user's own"


        @pytest.mark.owner("us")
        def test_a_cell(cell):
            assert cell == "of the user's own"


        @pytest.mark.parametrize("cell", [1, 2])
        def test_numbers(cell):
            assert cell in (1, 2)
        """,
    )
    project.run("-W", "ignore", targets=None).assert_outcomes(passed=4)


@pytest.mark.parametrize(
    "suite",
    [
        f"CASES = ({CASE})\ntest_parity, test_throughput = cell_tests(CASES)\n",
        f'CASES = ({CASE[:-1]}, count="batch"),)\n',
    ],
    ids=["cell_tests", "Case"],
)
def test_only_the_line_of_the_suite_is_shown(project, suite):
    project.write("test_my_model.py", IMPORTS.replace("Shape", "cell_tests") + suite)
    result = project.run(targets=None)
    shown = result.stdout.str()

    assert "DeclarationError: " in shown
    assert "test_my_model.py:" in shown
    assert "declaration.py:" not in shown
    assert "case.py:" not in shown
    assert "cell_tests.py:" not in shown
    assert "<string>" not in shown


def test_modules_that_are_not_there_are_told_before_anything_runs(project):
    (project.path / "acme").mkdir()
    project.write("acme/__init__.py", "")
    project.write("acme/nets.py", MODEL)
    project.suite(f"""
        CASES = (
            {CASE.replace("my_model:Net", "my_modle:Net")},
            {CASE.replace("my_model:inputs", "acme.netz:inputs").replace('"one"', '"two"')},
            {CASE.replace("my_model:Net", "acme.nets.Net:make").replace('"one"', '"three"')},
            {CASE.replace("my_model:Net", "acme.nets:Net").replace('"one"', '"four"')},
        )
    """)
    result = project.run()

    assert [line for line in result.errlines if line] == [
        "ERROR: case one: model=\"my_modle:Net\": there is no module 'my_modle'; did you mean "
        "'my_model'?",
        "ERROR: case two: inputs=\"acme.netz:inputs\": there is no module 'acme.netz'; did you mean "
        "'acme.nets'?",
        "ERROR: case three: model=\"acme.nets.Net:make\": there is no module 'acme.nets.Net': "
        "'acme.nets' is a module and no package",
    ]
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not (project.path / ".paritygate").exists()


def test_a_module_that_is_missing_from_a_case_that_was_not_selected_stops_nothing(project):
    project.suite(f"""
        CASES = (
            {CASE.replace("my_model:Net", "my_modle:Net")},
            {CASE.replace('"one"', '"two"')},
        )
    """)
    project.run("-k", "two and parity").assert_outcomes(passed=1)


def test_modules_that_only_an_import_makes_are_left_to_the_worker(project):
    """A package that extends its path, or that puts modules into ``sys.modules``."""
    for name in ("extended", "made", "hidden"):
        (project.path / name).mkdir()
    project.write("hidden/nets.py", MODEL)
    project.write("extended/__init__.py", "__path__.append(__path__[0] + '/../hidden')")
    project.write("made/__init__.py", "import sys, my_model\nsys.modules['made.nets'] = my_model\n")
    project.suite(f"""
        CASES = (
            {CASE.replace("my_model:Net", "extended.nets:Net")},
            {CASE.replace("my_model:Net", "made.nets:Net").replace('"one"', '"two"')},
        )
    """)
    project.run("-k", "parity").assert_outcomes(passed=2)
