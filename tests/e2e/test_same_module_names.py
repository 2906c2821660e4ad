"""Suites in two folders whose modules have the same name: each gets its own, or an error names both."""

from __future__ import annotations

import textwrap
from types import SimpleNamespace

import pytest

from tests.support.project import PLAYED

NET = """
    import torch

    from tests.support.clock import work


    class Net(torch.nn.Linear):
        def __init__(self):
            super().__init__(16, {width})

        def forward(self, x):
            work({seconds})
            return super().forward(x)


    def inputs(sizes, generator):
        return (torch.randn(sizes["batch"], 16, generator=generator),)
"""
CASE = 'Case("{name}", model="{module}:Net", inputs="{module}:inputs", shapes={{"b8": {{"batch": 8}}}}{more})'
SUITE = """
    import pytest
    from paritygate import Case

    CASES = ({case},)


    @pytest.mark.cells(CASES)
    def test_{name}(cell):
        cell.assert_parity()
"""
NOTE = "import os\nopen('imported.txt', 'a').write(f'{os.getpid()}\\n')\n"
PRELOADS = ', preload=["{module}"]'


def write(folder, files):
    """Files in a folder: name -> text, or the width of a net."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(net(text) if isinstance(text, int) else text).lstrip("\n"))


def net(width, seconds=0.001):
    return NET.format(width=width, seconds=seconds)


def suite(name, module="net", more=""):
    return SUITE.format(name=name, case=CASE.format(name=name, module=module, more=more))


@pytest.fixture
def folders(project):
    """A project whose suites lie in folders of their own."""
    (project.path / "test_my_model.py").unlink()

    def run(files, *arguments):
        write(project.path, files)
        result = project.run("-v", *(arguments or ("a", "b")))
        parameters = {record.case: record.parameters for record in project.records().values()}
        # widths: 16 weights and a bias
        return result, {name: (count or 0) // 17 for name, count in parameters.items()}

    return SimpleNamespace(run=run, project=project)


PAIRS = {  # of folders -> what each has beside its suite, and the module that both suites name
    "ab": ({"net.py": 4}, {"net.py": 8}, "net"),
    "cd": ({"packed/__init__.py": 4}, {"packed.py": 8}, "packed"),
    "ef": ({"lib/net.py": 4}, {"lib/net.py": 8}, "lib.net"),  # portions of one namespace package
    "gh": (
        {"imports.py": "from parts import Net, inputs", "parts.py": 4},
        {"imports.py": "from parts import Net, inputs", "parts.py": 8},
        "imports",
    ),
}


def test_each_case_gets_the_module_beside_its_suite(folders):
    """As a module, as a package, as a part of a namespace package, and where a module imports
    it.
    """
    files, wanted = {}, {}
    for pair, (*both, module) in PAIRS.items():
        for name, width, beside in zip(pair, (4, 8), both, strict=True):
            files |= {f"{name}/{file}": text for file, text in beside.items()}
            files[f"{name}/test_{name}.py"] = suite(name, module)
            wanted[name] = width
    result, widths = folders.run(files, *"abdcefhg")

    assert widths == wanted
    assert result.ret == 0


def test_namespace_packages_are_hidden_by_nobody_and_keep_parts_in_several_folders(folders):
    files = {
        "a/net/model.py": 4,
        "b/net.py": 8,
        "a/test_a.py": suite("a", "net.model"),
        "b/test_b.py": suite("b"),
        "c/lib/net.py": "from lib.parts import Net, inputs",
        "d/lib/parts.py": 8,
        "d/lib/net.py": 6,
        "c/test_c.py": suite("c", "lib.net"),
        "d/test_d.py": suite("d", "lib.net"),
    }

    assert folders.run(files, "a", "b", "c", "d")[1] == {"a": 4, "b": 8, "c": 8, "d": 6}


def test_importlib_mode_has_the_path_that_the_user_gave(folders):
    ini = "[pytest]\naddopts = --import-mode=importlib\npythonpath = a b src\n"
    files = {
        "pytest.ini": ini,
        "a/net.py": 4,
        "b/net.py": 8,
        "src/other.py": 6,
        "a/test_a.py": suite("a"),
        "b/test_b.py": suite("b"),
        "c/test_c.py": suite("c", "other"),
    }

    assert folders.run(files, "a", "b", "c")[1] == {"a": 4, "b": 8, "c": 6}


def test_what_lies_elsewhere_is_found_as_ever(folders):
    """In ini pythonpath though another suite has one, too; in the root; beside a conftest; beside
    another suite only.

    And what lies beside other tests hides nothing.
    """
    ini = "[pytest]\npythonpath = src\n"
    files = {
        "pytest.ini": ini,
        "src/net.py": 4,
        "root_net.py": 6,
        "a/test_a.py": suite("a"),
        "b/test_b.py": suite("b", "root_net"),
        "b/net.py": 8,
        "c/deep/test_c.py": suite("c"),
        "c/conftest.py": "",
        "c/net.py": 10,
        "d/test_d.py": suite("d", "shared"),
        "e/shared.py": 12,
        "e/test_e.py": suite("e", "shared"),
        "f/other.py": 14,
        "f/test_f.py": suite("f", "other"),
        "unit/other.py": 16,
        "unit/test_units.py": "def test(): pass\n",
    }
    result, widths = folders.run(files, "a", "b", "c", "d", "e", "f", "unit")

    assert widths == {"a": 4, "b": 6, "c": 10, "d": 12, "e": 12, "f": 14}
    assert result.ret == 0


def test_a_module_that_two_other_suites_have_is_an_error_with_both_files(folders):
    files = {
        "a/net.py": 4,
        "a/test_a.py": suite("a"),
        "b/net.py": 8,
        "b/test_b.py": suite("b"),
        "c/test_c.py": suite("c"),
    }
    result, widths = folders.run(files, "a", "b", "c")

    assert (widths["a"], widths["b"]) == (4, 8)
    record = folders.project.records()["c-b8-cpu-eager-fp32"]
    assert str(record.status) == "failed"
    for file in ("a/net.py", "b/net.py"):
        assert str(folders.project.path / file) in record.reason
    assert "give each of them another name" in record.reason
    assert result.ret == 12


def test_a_fork_servers_preload_takes_no_side_and_nor_does_what_it_imports(folders):
    heavy = "import colorsys, light\ntry:\n    import net\nexcept Exception:\n    raise SystemExit('taken')\n"
    files = {
        "pytest.ini": "[pytest]\npythonpath = src\n",
        "src/light.py": NOTE,
        "src/early.py": heavy,
    }
    for name, width in {"a": 4, "b": 8}.items():
        more = f', preload=["net", "heavy_{name}", "early", "light"]'
        files |= {f"{name}/net.py": width, f"{name}/heavy_{name}.py": heavy}
        files[f"{name}/test_{name}.py"] = suite(name, more=more)

    assert folders.run(files)[1] == {"a": 4, "b": 8}
    importers = (folders.project.path / "imported.txt").read_text().split()
    assert len(set(importers)) == 1, (
        "what lies in src means the same to all, and stays in the fork server"
    )


def test_a_module_that_a_backend_imported_too_early_is_an_error_with_both_files(folders):
    """The fork server cannot know whose module it takes along."""
    folders.project.backend("early", "tensor")
    text = (folders.project.path / "early_backend.py").read_text()
    files = {
        "early_backend.py": text + "\ndef preload():\n    import net\n",
        "a/net.py": 4,
        "a/test_a.py": suite("a"),
        "b/net.py": 8,
        "b/test_b.py": suite("b"),
    }
    write(folders.project.path, files)
    result = folders.project.run("a", "b", targets="cpu-early-fp32")

    reasons = [record.reason for record in folders.project.records().values() if record.reason]
    assert len(reasons) == 1, "of the two, one is as it should be"
    for file in ("a/net.py", "b/net.py"):
        assert str(folders.project.path / file) in reasons[0]
    assert "import it in the backend's prepare()" in reasons[0]
    assert result.ret == 12


def test_a_preload_of_a_single_suite_stays_in_the_fork_server_and_is_its_own(folders):
    files = {
        "a/net.py": textwrap.dedent(net(4)) + NOTE,
        "unit/net.py": 8,
        "a/test_a.py": suite("a", more=PRELOADS.format(module="net")),
        "unit/test_units.py": "def test(): pass\n",
    }

    assert folders.run(files, "a", "unit")[1] == {"a": 4}
    assert len((folders.project.path / "imported.txt").read_text().split()) == 1, "workers share it"


def test_in_the_gate_each_side_has_its_own_and_each_case_too(folders):
    """The other revision's files come first on the path, through a slot, in folders that are no
    suites' own. Its models are slow, so that every cell is decided after a few launches.
    """
    git = folders.project.pytester.run
    ini = "[pytest]\nbench_source =\n    a/net.py\n    b/net.py\nbench_profile = noisy\n"
    timed = "\n\n@pytest.mark.cells(CASES)\ndef test_{0}_throughput(cell, benchmark):\n    cell.measure(benchmark)\n"
    suites = {
        f"{name}/test_{name}.py": textwrap.dedent(suite(name)) + timed.format(name) for name in "ab"
    }
    write(
        folders.project.path,
        {
            "pytest.ini": ini,
            "conftest.py": PLAYED,
            "a/net.py": net(4, 0.002),
            "b/net.py": net(8, 0.002),
            ".gitignore": ".paritygate/\n",
        }
        | suites,
    )
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-q", "-m", "base"],
    ):
        git("git", *command)
    _, widths = folders.run({"a/net.py": 5, "b/net.py": 9}, "a", "b", "--bench-against", "HEAD")

    assert widths == {"a": 5, "b": 9}
    found = {
        record.case: "\n".join(record.findings) for record in folders.project.records().values()
    }
    assert "parameters: 68 -> 85" in found["a"]
    assert "parameters: 136 -> 153" in found["b"]


def test_one_name_for_two_models_is_refused_with_both_files(folders):
    files = {
        "a/net.py": 4,
        "a/test_a.py": suite("same"),
        "b/net.py": 8,
        "b/test_b.py": suite("same"),
    }
    write(folders.project.path, files)
    result = folders.project.run("a", "b")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    text = result.stdout.str().replace("\n", "")
    assert "two cases are named 'same'" in text
    assert str(folders.project.path / "a/net.py") in text
    assert str(folders.project.path / "b/net.py") in text


def test_one_case_in_two_suites_is_one_case(folders):
    write(
        folders.project.path,
        {"net.py": 4, "a/test_a.py": suite("same"), "b/test_b.py": suite("same")},
    )
    result = folders.project.run("a", "b", "--collect-only", "-q")

    assert result.stdout.str().count("[same-b8-cpu-eager-fp32]") == 2
    assert result.ret == 0
