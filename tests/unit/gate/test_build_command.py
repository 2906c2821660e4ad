"""The ini option bench_build: which commands are taken, and how a wrong one is refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from paritygate.gate import build_command
from paritygate.gate.build_command import BuildCommandError

OUT = Path("/there/wheels")


def read(text, root=Path("/")):
    return build_command.read(text, root, sys.executable)


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_no_command_is_none(text):
    assert read(text) is None


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("pip wheel -w {out} .", ["PYTHON", "-m", "pip", "wheel", "-w", "/there/wheels", "."]),
        ("python3 setup.py build_ext", ["PYTHON", "setup.py", "build_ext"]),
        ("sh -c 'a b' --to={out}/x", ["sh", "-c", "a b", "--to=/there/wheels/x"]),
        ("sh python", ["sh", "python"]),
        ("pip install --target {out} .", ["PYTHON", "-m", "pip", "install", "--target", "/there/wheels", "."]),
    ],
)  # fmt: skip
def test_python_and_pip_are_those_of_the_interpreter(text, arguments):
    assert read(text).arguments("PYTHON", OUT) == arguments


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("python 'setup.py", "is not quoted as in a shell: No closing quotation"),
        ("pip wheel -w {dist} .", r"has the placeholder \{dist\}; there is only \{out\}"),
        ("make ext && make lib", "has '&&', but no shell runs it"),
        ("no-such-program .", "there is no program 'no-such-program' here; write e.g. pip wheel"),
        ("./no-such-script", "there is no program './no-such-script' here"),
        ("pip install -e .", "installs into the environment, which both sides share"),
        ("python -m pip install .", "installs into the environment"),
        ("python setup.py develop", "installs into the environment"),
    ],
)
def test_a_wrong_command_is_refused_by_name_and_value(text, said, tmp_path):
    with pytest.raises(BuildCommandError, match=said) as refused:
        read(text, tmp_path)
    assert str(refused.value).startswith(f"ini bench_build: {text!r}")


def test_a_script_of_the_project_is_a_program_if_it_may_be_run(tmp_path):
    script = tmp_path / "build.sh"
    script.write_text("")
    with pytest.raises(BuildCommandError):
        read("./build.sh", tmp_path)
    script.chmod(0o755)

    assert read("./build.sh", tmp_path).arguments("PYTHON", OUT) == ["./build.sh"]


def test_programs_beside_the_interpreter_are_found_first(tmp_path):
    """An environment need not be active."""
    for folder in ("bin", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ninja").write_text("")
        (tmp_path / folder / "ninja").chmod(0o755)
    python = str(tmp_path / "bin" / "python")

    assert build_command.read("ninja", tmp_path, python) is not None
    found = build_command.path_of(python, {"PATH": str(tmp_path / "other")})
    assert found.split(os.pathsep) == [str(tmp_path / "bin"), str(tmp_path / "other")]
