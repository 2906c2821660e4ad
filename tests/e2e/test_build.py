"""Code under test with an extension in C: each side imports what was built of its own code."""

from __future__ import annotations

import sysconfig
import textwrap

import pytest

from tests.support.repository import INI, MODEL, ONE, ONLY_ONE

LIBRARY = "_fast" + sysconfig.get_config_var("EXT_SUFFIX")
SOURCE = """
    #include <Python.h>

    static PyObject *factor(PyObject *self, PyObject *none)
    {
        return PyFloat_FromDouble(FACTOR);
    }

    static PyMethodDef methods[] = {{"factor", factor, METH_NOARGS, ""}, {NULL}};
    static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_fast", "", -1, methods};

    PyMODINIT_FUNC PyInit__fast(void)
    {
        return PyModule_Create(&module);
    }
"""
SETUP = """
    import os
    from setuptools import Extension, setup

    with open(os.environ["BUILDS"], "a") as file:
        file.write(f"{os.getsid(0)} {os.getcwd()}\\n")
    setup(
        name="pkg",
        version="1",
        packages=["pkg"],
        package_dir={"": "SRC"},
        ext_modules=[Extension("pkg._fast", ["csrc/fast.c"], extra_compile_args=["-O0"])],
    )
"""
NET = textwrap.dedent(MODEL).replace(
    "return self.layers(x)", "return self.layers(x) * factor()"
) + textwrap.dedent("""

    from pathlib import Path
    from pkg._fast import factor

    # behind all links, where head was built
    exec(Path(__file__).resolve().with_name("late.py").read_text())
""")
IN_PLACE = "python setup.py build_ext --inplace"
WHEEL = "pip wheel --no-deps --no-build-isolation -w {out} ."


class Extended:
    """A repository whose package ``pkg`` has an extension; ``base`` is its first commit with it."""

    def __init__(self, repository, log, command, src):
        self.repository, self.project, self._log = repository, repository.project, log
        self.source = "src" if src else "pkg"
        self.package = "src/pkg" if src else "pkg"
        (self.project.path / "my_model.py").unlink()
        self.command(command)
        self.project.write(
            "pyproject.toml",
            '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n',
        )
        self.project.write("setup.py", SETUP.replace("SRC", "src" if src else ""))
        self.c("1.0")
        self.project.write(f"{self.package}/__init__.py", "")
        self.project.write(f"{self.package}/net.py", NET)
        self.project.write(f"{self.package}/unused.py", "")
        self.project.write(f"{self.package}/late.py", "late = 0\n")
        self.project.write("README.md", "words\n")
        self.project.suite(ONLY_ONE.replace("my_model:", "pkg.net:"))
        ignored = self.project.path / ".gitignore"
        ignored.write_text(ignored.read_text() + "*.so\nbuild/\n*.egg-info/\n")
        # older than the code, and no library at all
        self.project.write(f"{self.package}/{LIBRARY}", "stale")
        repository.git("tag", "-d", "base")
        repository.commit("base")

    def c(self, factor, more=""):
        self.project.write("csrc/fast.c", SOURCE.replace("FACTOR", factor) + more)

    def command(self, command):
        ini = INI.replace("my_model.py", self.source) + "pythonpath = src\n"
        self.project.write("pytest.ini", ini + f"bench_build = {command}\n")

    def builds(self):
        """Return how often the extension was compiled, never in the user's folder."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        found = dict(line.split(" ", 1) for line in lines)  # session -> folder
        assert str(self.project.path) not in found.values()
        return len(found)

    def record(self):
        return self.project.records()[ONE]

    def gate(self, *arguments, against="base"):
        return self.repository.gate(*arguments, against=against)

    def glimpse(self, *arguments, against="base"):
        """Compare, but begin no launch: what would be measured stays inconclusive."""
        return self.gate("--bench-limit", "1", *arguments, against=against)

    def dirt(self):
        """Return the files that are not those of the commit, ignored ones, too."""
        lines = self.repository.git("status", "--porcelain", "--ignored", "-uall").splitlines()
        ours = (
            ".paritygate/",
            ".pytest_cache/",
            "__pycache__",
            "output.txt",
            "stdout",
            "stderr",
            "runpytest",
        )
        return sorted(line for line in lines if not any(one in line for one in ours))


@pytest.fixture
def extended(repository, tmp_path_factory, monkeypatch):
    log = tmp_path_factory.mktemp("log") / "builds"
    monkeypatch.setenv("BUILDS", str(log))
    monkeypatch.setenv("HOME", str(log.parent))  # pip asks rustc, which writes there
    return lambda command, src: Extended(repository, log, command, src)


def test_each_side_imports_its_own_build_which_is_made_once(extended):
    """The wheels that pip makes are taken apart over a root of packages."""
    project = extended(WHEEL, src=True)
    project.c("1.5")
    before = project.dirt()
    result = project.gate()

    assert result.ret == 10
    (line,) = [line for line in project.record().findings if line.startswith("answers")]
    assert "differ from base's by 0.5 on the same inputs and weights" in line
    result.stdout.fnmatch_lines(
        [
            f"gate: building head ({WHEEL})",
            "gate: built head in * s",
            f"gate: building base (base, *) ({WHEEL})",
        ]
    )
    assert project.builds() == 2
    assert project.dirt() == before
    assert not project.repository.left()

    # known by now: what its processes use. Base was built as head before
    project.repository.commit("known")
    for file, verdict, builds in (("unused", "same", 3), ("late", "inconclusive", 4)):
        project.project.write(f"src/pkg/{file}.py", f"{file} = 1\n")
        project.glimpse("-k", "regression", against="known")
        assert project.record().verdict == verdict, file
        assert project.builds() == builds, file
        project.repository.git("checkout", "-q", ".")


def test_without_a_command_compiled_files_are_refused_and_with_one_they_are_not_used(extended):
    project = extended("", src=False)
    result = project.glimpse()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"*bench_source holds compiled files that git does not have: pkg/{LIBRARY}. Base *"]
    )
    assert not project.repository.left()

    project.command(IN_PLACE)
    project.repository.commit("command")
    result = project.glimpse(against="HEAD")
    result.stdout.fnmatch_lines(["*was built before*", "*: 1 inconclusive"])
    assert project.record().status == "ok"  # head's check has imported it
    assert project.builds() == 1
    assert not project.repository.left()

    # a shape without a verdict is checked on head, which is built for it
    shapes = 'shapes={"b8": {"batch": 8}}'
    suite = ONLY_ONE.replace("my_model:", "pkg.net:")
    project.project.suite(
        suite.replace(shapes, f'{shapes}, parity_shapes={{"b3": {{"batch": 3}}}}')
    )
    project.repository.commit("shapes")
    project.project.write("README.md", "other words\n")
    assert project.gate(against="shapes").ret == 0
    assert project.record().verdict == "same"
    assert project.project.records()[ONE.replace("b8", "b3")].status == "ok"
    assert project.builds() == 2

    project.c("nonsense")
    result = project.gate()
    assert result.ret == 12
    assert project.record().verdict == "broken"
    result.stdout.fnmatch_lines(
        [
            f"*failed: bench_build failed on head: `{IN_PLACE}` ended with status 1: *",
            "*csrc/fast.c*nonsense*",
            "The whole output is in */.paritygate/cache/builds/*.log.",
            "paritygate: exit status 12: *",
        ]
    )
    project.repository.commit("nonsense")
    project.c("1.0")
    result = project.gate("-rs", against="nonsense")
    assert result.ret == 14
    assert project.record().status == "ok"
    result.stdout.fnmatch_lines(["*broken: base: bench_build failed on base (nonsense, *"])
