"""Options and declarations: a bad one is refused in words that name it, a good one has its
effect.
"""

from __future__ import annotations

import textwrap

import pytest

from paritygate.backends import Backend
from tests.support.project import CASES, CONFTEST, HOOK

CASE = 'Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}})'


@pytest.mark.parametrize(
    ("option", "value", "right"),
    [
        ("targets", "nonsense", "devices: cpu, cuda; backends: eager, compile"),
        ("targets", "cpu-eager-fp99", "dtypes: fp32, bf16, fp16, amp_bf16, tf32"),
        ("targets", "", "devices: cpu, cuda"),
        ("budget", "huge", "must be one of quick, normal, long"),
        ("lab", "maybe", "must be on or off"),
        ("seed", "x", "must be a whole number"),
        ("seed", "-1", "must be a whole number"),
        ("memory", "lots", 'must be auto or a size such as "8G"'),
        ("memory", "0", 'must be auto or a size such as "8G"'),
    ],
)
def test_a_bad_value_is_a_usage_error(project, option, value, right):
    result = project.run(f"--bench-{option}={value}", targets=None)
    (line,) = [line for line in result.errlines if line.startswith("ERROR")]
    assert f"--bench-{option}: {value!r}" in line
    assert right in line
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not (project.path / ".paritygate").exists()


def test_a_bad_value_in_an_ini_file_is_a_usage_error(project):
    project.write("pytest.ini", "[pytest]\nbench_budget = huge\n")
    result = project.run()
    result.stderr.fnmatch_lines(["ERROR: *budget*'huge' must be one of quick, normal, long"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_options_and_their_ini_twins_have_effect(project):
    """The model says in its error what it was given; options stand above ini values."""
    project.write(
        "my_model.py",
        """
        import os, random, resource

        def Net():
            limit = resource.getrlimit(resource.RLIMIT_DATA)[0] >> 20
            raise RuntimeError(f"{limit} MiB, arenas {os.environ.get('MALLOC_ARENA_MAX')}, drew {random.random()}")

        inputs = None
    """,
    )
    project.suite(
        'CASES = (Case("one", model="my_model:Net", inputs="my_model:inputs", '
        'shapes={"b8": {"batch": 8}, "b2": {"batch": 2}}),)\n'
    )
    project.write(
        "pytest.ini",
        """
        [pytest]
        bench_targets = cpu-eager-bf16
        bench_budget = normal
        bench_lab = off
        bench_seed = 7
        bench_memory = 3G
    """,
    )
    ini = project.run(targets=None)
    ini.stdout.fnmatch_lines(["paritygate: budget normal, laboratory off; *"])
    by_ini = project.records()
    assert list(by_ini) == ["one-b8-cpu-eager-bf16", "one-b2-cpu-eager-bf16"]
    assert ini.ret == 12
    project.run("--bench-budget=quick", "--bench-lab=on", "--bench-seed=8", "--bench-memory=2048M")
    (given,) = project.records().values()
    assert given.cell == "one-b8-cpu-eager-fp32"
    said, said_ini = given.reason, by_ini["one-b8-cpu-eager-bf16"].reason
    assert "RuntimeError: 2048 MiB, arenas 2" in said
    assert "RuntimeError: 3072 MiB, arenas None" in said_ini
    assert said.split("drew")[1] != said_ini.split("drew")[1]  # another seed


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        (
            f"CASES = ({CASE}, {CASE.replace('Net', 'Other')})",
            "two cases are named 'one'*another name",
        ),
        (
            f"CASES = ({CASE.replace('one', 'my-one')},)",
            "case 'my-one': a field of a cell's id may hold only a-z, 0-9 and _*",
        ),
        (
            f"CASES = ({CASE.replace('my_model:Net', 'my_model.Net')},)",
            'case one: model=*my_model.Net* must look like "package.module:attribute"',
        ),
        (
            f"CASES = ({CASE.replace('8}', '8.5}')},)",
            "shape 'b8': batch=8.5 must be a whole number*",
        ),
        (
            f"CASES = ({CASE})",
            "test_my_model.py::test_*: CASES must be a tuple of Case, it was given one Case; a tuple of "
            "one needs a comma: CASES = (Case(...),)",
        ),
        (
            f"CASES = {{1: {CASE}}}",
            "test_my_model.py::test_*: CASES must be a tuple of Case, it was given a dict; write tuple(CASES.values())",
        ),
        (
            'CASES = ("one",)',
            "test_my_model.py::test_*: CASES must be a tuple of Case, it was given 'one' at place 0 of it",
        ),
    ],
    ids=[
        "two of one name",
        "dash in a name",
        "no location",
        "half a batch",
        "no comma",
        "no tuple",
        "no case",
    ],
)
def test_a_bad_declaration_is_an_error_that_names_it(project, cases, message):
    project.suite(cases + "\n")
    result = project.run()
    result.stdout.fnmatch_lines([f"*{message.replace('[', '[[]')}"])
    assert result.ret == pytest.ExitCode.INTERRUPTED  # as for any error of collection
    assert not (project.path / ".paritygate").exists()


def test_a_cells_test_without_the_fixture_is_an_error_that_names_it(project):
    project.suite(
        f"CASES = ({CASE},)\n",
        """
        @pytest.mark.cells(CASES)
        def test_parity():
            pass
    """,
    )
    project.run().stdout.fnmatch_lines(
        ["*test_my_model.py::test_parity: a test marked with cells needs the fixture `cell`*"]
    )


def test_the_fixture_without_the_mark_is_an_error_that_names_the_test(project):
    project.suite(f"CASES = ({CASE},)\n", "\ndef test_parity(cell):\n    cell.assert_parity()\n")
    result = project.run()
    result.stdout.fnmatch_lines(
        [
            "test_my_model.py::test_parity: the fixture `cell` needs @pytest.mark.cells(CASES) on the test, with a "
            "tuple of Case; it has no mark",
        ]
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_strings_that_name_nothing_are_failures_of_their_cells(project):
    other = CASE.replace("my_model:inputs", "my_model:nothing")
    project.suite(f"""
        CASES = (
            {CASE.replace("my_model:Net", "my_model:Nett")},
            {other.replace('"one"', '"two"')},
            {CASE.replace('"one"', '"three"').replace("my_model:inputs", "my_model:Net")},
            {CASE.replace('"one"', '"four"')},
        )
    """)
    result = project.run()
    assert result.ret == 12
    reasons = {cell.partition("-")[0]: record.reason for cell, record in project.records().items()}
    assert "\"my_model:Nett\": my_model has no 'Nett'" in reasons["one"]
    assert "\"my_model:nothing\": my_model has no 'nothing'" in reasons["two"]
    assert reasons["three"]
    assert reasons["four"] == ""
    result.stdout.fnmatch_lines(["one-b8-cpu-eager-fp32: failed: *Nett*"])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"eager": "my_model"}, "there is a backend 'eager' already"),
        (
            {"mine": 3},
            "'mine' must be the name of a module, or a paritygate.backends.Backend of that name; it is 3",
        ),
        (
            {"mine": Backend("other", "my_model")},
            "'mine' must be the name of a module, or *name='other'*",
        ),
        (["eager"], "must return a dict, name -> module; it gave ['eager']"),
        (
            {"OpenVINO": "my_model"},
            "the name 'OpenVINO' must be of small letters, digits and _, as in an id",
        ),
        (
            {"mine": "no_such_module"},
            "the module 'no_such_module' of the backend 'mine' cannot be imported: *",
        ),
        (
            {"mine": Backend("mine", "string", artefact=True)},
            "*'mine' has no available, preload, prepare, artefact; see *",
        ),
    ],
)
def test_a_backend_that_is_none_or_of_a_name_that_is_taken_is_refused(project, names, said):
    hook = textwrap.dedent(HOOK).format(names=names)
    project.write("conftest.py", CONFTEST + "from paritygate.backends import Backend\n" + hook)
    result = project.run()
    result.stderr.fnmatch_lines([f"ERROR: pytest_paritygate_backends: {said.replace('[', '[[]')}"])
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_strictness_that_is_neither_true_nor_false_is_refused_before_anything_is_measured(
    project,
):
    project.write("pytest.ini", "[pytest]\nbench_strict = maybe\n")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "maybe" in result.stderr.str()


def test_a_backend_of_ones_own_may_make_artefacts_and_run_a_backward(project):
    project.write(
        "kept_backend.py",
        """
        from paritygate.backends import eager
        from paritygate.backends.eager import available, preload


        def artefact(subject):
            return {"made_of": subject.case.name}


        def prepare(subject):
            assert subject.scratch.artefact("kept") == {"made_of": subject.case.name}
            return eager.prepare(subject)
    """,
    )
    kept = Backend("kept", "kept_backend", artefact=True, differentiable=True)
    hook = textwrap.dedent(HOOK).format(names={"kept": kept})
    project.write("conftest.py", CONFTEST + "from paritygate.backends import Backend\n" + hook)
    project.suite(CASES.replace('shapes={"b8"', 'mode="backward", shapes={"b8"'))
    result = project.run(targets="cpu-eager-fp32,cpu-kept-fp32")

    assert result.ret == 0
    assert {cell: record.status for cell, record in project.records().items()} == {
        f"{shape}-cpu-{backend}-fp32": "ok"
        for shape in ("one-b8", "two-b4")
        for backend in ("eager", "kept")
    }


def test_folders_that_are_named_like_ours_are_the_users_own(project):
    for name in ("bench", "reports"):
        (project.path / name).mkdir()
        project.write(f"{name}/__init__.py", "raise ImportError('not asked for')")
    project.write("bench.py", "raise ImportError('not asked for')")

    assert project.run().ret == 0
