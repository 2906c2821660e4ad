"""Real processes note what they use of a project, however they use it."""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
import textwrap

import pytest

from tests.support.paths import ROOT

WATCHED = """
    import os, sys
    from paritygate.worker import used_files
    used_files.watch([{project!r}])
    sys.path.insert(0, {project!r})
    os.chdir({project!r})
    {before}
    used_files.write_to({notes!r})
    {after}
"""


@pytest.fixture
def used(tmp_path):
    """Run statements in a process of their own; return what it noted, relative to the project."""
    project = tmp_path / "project"
    for file, text in {
        "pkg/__init__.py": "",
        "pkg/net.py": "def late():\n    import pkg.late\n",
        "pkg/late.py": "",
        "pkg/plugins/one.py": "",
        "table.csv": "1,2\n",
    }.items():
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        (project / file).write_text(text)

    def run(after, before="pass"):
        notes = tmp_path / "notes" / "used"
        notes.unlink(missing_ok=True)
        lines = [textwrap.indent(part, " " * 4).strip() for part in (before, after)]
        script = WATCHED.format(
            project=str(project), notes=str(notes), before=lines[0], after=lines[1]
        )
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            check=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "bench")},
        )
        found = [json.loads(line) for line in notes.read_text().splitlines()]
        assert len(found) == len({tuple(one) for one in found}), "each is noted once"
        return {(kind, name.removeprefix(f"{project}/")) for kind, name in found}

    return run


@pytest.mark.parametrize(
    ("statement", "noted"),
    [
        ("import pkg.net", ("file", "pkg/net.py")),
        ("import pkg.net", ("module", "pkg.net")),
        ("import pkg.net; pkg.net.late()", ("file", "pkg/late.py")),
        ("exec(open('pkg/late.py').read())", ("file", "pkg/late.py")),
        ("import runpy; runpy.run_path('pkg/late.py')", ("file", "pkg/late.py")),
        (
            "import importlib.util as u\n"
            "s = u.spec_from_file_location('any', 'pkg/late.py')\n"
            "s.loader.exec_module(u.module_from_spec(s))",
            ("file", "pkg/late.py"),
        ),
        ("try: import pkg.fast\nexcept ImportError: pass", ("module", "pkg.fast")),
        ("try: import no_such\nexcept ImportError: pass", ("module", "no_such")),
        ("open('table.csv').read()", ("file", "table.csv")),
        ("import os; os.open(b'table.csv', os.O_RDONLY)", ("file", "table.csv")),
        ("from pathlib import Path; Path('table.csv').read_bytes()", ("file", "table.csv")),
        ("import numpy; numpy.loadtxt('table.csv', delimiter=',')", ("file", "table.csv")),
        ("import mmap; f = open('table.csv', 'rb'); mmap.mmap(f.fileno(), 0, prot=1)", ("file", "table.csv")),
        ("try: open('none.csv')\nexcept OSError: pass", ("file", "none.csv")),
        ("import os; os.listdir('pkg/plugins')", ("folder", "pkg/plugins")),
        ("import glob; glob.glob('pkg/plugins/*.py')", ("folder", "pkg/plugins")),
        ("from pathlib import Path; list(Path('pkg/plugins').iterdir())", ("folder", "pkg/plugins")),
        ("import pkgutil; list(pkgutil.iter_modules(['pkg/plugins']))", ("folder", "pkg/plugins")),
        (
            "import os\npid = os.fork()\nif not pid: open('table.csv'); os._exit(0)\nos.waitpid(pid, 0)",
            ("file", "table.csv"),
        ),
        (
            "from multiprocessing import get_context; from pathlib import Path\n"
            "with get_context('fork').Pool(1) as pool: pool.apply(Path('table.csv').read_text)",
            ("file", "table.csv"),
        ),
        (
            "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import pkg.late'])",
            ("process", "python"),
        ),
        ("import os; os.system('true')\nimport multiprocessing.popen_spawn_posix", ("process", "python")),
    ],
)  # fmt: skip
def test_it_is_noted(used, statement, noted):
    assert noted in used(statement)


def test_compiled_code_counts_as_its_source(used, tmp_path):
    compileall.compile_dir(tmp_path / "project", quiet=True)

    assert len(list(tmp_path.rglob("net.*.pyc"))) == 1
    assert ("file", "pkg/net.py") in used("import pkg.net")


def test_a_forks_notes_begin_with_what_its_server_has_used(used):
    assert ("file", "pkg/net.py") in used("pass", before="import pkg.net")


@pytest.mark.parametrize(
    "statement",
    [
        "open('out.txt', 'w').write('log')",
        "import json, email; open('/dev/null')",
        "import importlib.metadata as m; list(m.distributions())",
        "import numpy",
        "import subprocess; subprocess.run(['true'])",
    ],
)
def test_nothing_else_of_the_project_is_noted(used, statement):
    assert {one for one in used(statement) if one[0] != "module"} == set()


def test_notes_that_cannot_be_written_are_empty_and_the_code_goes_on(used, tmp_path):
    """As on a full disk: the file may not grow."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))"
    ignore = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    found = used(f"{ignore}; {limit}; import pkg.net, pkg.late; open('table.csv').read()")

    assert found == set()
