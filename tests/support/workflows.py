"""Workflows and actions as GitHub reads them: files, expressions, and the shell of a step."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from ruamel.yaml import YAML

from tests.support.paths import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
ACTION = ROOT / ".github" / "actions" / "paritygate"
EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
RUNNER = ("PATH", "HOME", "LANG", "TMPDIR")  # nothing else of the test's own environment


def parse(text):
    return YAML(typ="safe").load(text)


def read(path):
    return parse(path.read_text())


def workflow(name):
    return read(WORKFLOWS / f"{name}.yml")


def step(steps, word):
    """Return the one step whose ``run`` or ``uses`` has this word."""
    (found,) = [part for part in steps if word in part.get("run", "") + part.get("uses", "")]
    return found


def expand(text, contexts):
    """Return a text with its expressions replaced: names and texts, joined by ``||``."""

    def value(match):
        for part in match[1].split("||"):
            part = part.strip()
            known = part[1:-1] if part.startswith("'") else contexts.get(part, "")
            if known != "":
                return str(known)
        return ""

    return EXPRESSION.sub(value, str(text))


def run(part, contexts, cwd, **environment):
    """Run a step's shell with nothing but what a runner gives it, and return what it has done."""
    given = {name: os.environ[name] for name in RUNNER if name in os.environ}
    given |= {name: expand(text, contexts) for name, text in part.get("env", {}).items()}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", expand(part["run"], contexts)],
        cwd=cwd,
        env=given | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def with_scripts(folder: Path) -> Path:
    """Make a job's folder, where the workflow's own commit is checked out."""
    (folder / ".paritygate").mkdir(parents=True)
    (folder / ".paritygate" / "ci").symlink_to(ROOT)
    return folder
