"""A user's project in git, and the ``repository`` fixture: the gate compares its revisions."""

from __future__ import annotations

import subprocess
import textwrap

import pytest

from tests.support.project import MODEL as NET
from tests.support.project import PLAYED

# A call takes 1 ms, by the clock of tests.support.clock.
MODEL = NET.replace(
    "import torch\n", "import torch\n\n    from tests.support.clock import work\n", 1
).replace("return self.layers(x)", "work(0.001)\n            return self.layers(x)")
SLOW = MODEL.replace("0.001", "0.002")
# noisy: unchanged code is cleared in fewer launches
INI = "[pytest]\nbench_source = my_model.py\nbench_profile = noisy\n"
ONE = "one-b8-cpu-eager-fp32"
ONLY_ONE = """
    CASES = (Case("one", model="my_model:Net", inputs="my_model:inputs", shapes={"b8": {"batch": 8}}),)
"""


class Repository:
    """The project in git, its code under test being ``my_model.py``; ``base`` is its first
    commit.
    """

    def __init__(self, project, model=MODEL):
        self.project = project
        project.write("pytest.ini", INI)
        project.write("conftest.py", PLAYED)
        project.write("my_model.py", model)
        ours = ["output.txt", "*.xml", "runpytest-*", "stdout", "stderr"]
        project.write(".gitignore", "\n".join([".paritygate/", "__pycache__/", *ours, ""]))
        project.suite(ONLY_ONE)
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.email", "a@b.c")
        self.git("config", "user.name", "A")
        self.commit("base")

    def git(self, *command):
        done = subprocess.run(
            ["git", *command], cwd=self.project.path, check=True, capture_output=True, text=True
        )
        return done.stdout

    def commit(self, tag):
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", tag)
        self.git("tag", tag)

    def model(self, more, text=MODEL):
        """Give head a model with more code at its end."""
        self.project.write("my_model.py", textwrap.dedent(text) + textwrap.dedent(more))

    def gate(self, *arguments, against="base"):
        return self.project.run("--bench-against", against, *arguments)

    def left(self):
        """What a run has left behind: checkouts and folders."""
        trees = self.git("worktree", "list").splitlines()[1:]
        folder = self.project.path / ".paritygate"
        return trees + [
            str(path) for name in ("worktrees", "scratch") for path in (folder / name).glob("*")
        ]


@pytest.fixture
def repository(project):
    return Repository(project)
