"""``--help`` can be copied from: every example stands on a line of its own and is accepted."""

from __future__ import annotations

import shlex
from importlib import import_module

import pytest

from paritygate import __main__ as command


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize("name", command.COMMANDS)
def test_examples_stand_on_lines_of_their_own(name, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    examples = import_module(command.COMMANDS[name].module).EXAMPLES
    with pytest.raises(SystemExit):
        command.main([name, "--help"])
    lines = capsys.readouterr().out.splitlines()

    assert lines[-len(examples) - 1 :] == ["examples:", *(f"  {example}" for example in examples)]


@pytest.mark.parametrize("name", command.COMMANDS)
def test_examples_are_accepted(name):
    """By the parser; what they do, other tests run."""
    for example in import_module(command.COMMANDS[name].module).EXAMPLES:
        program, *given = shlex.split(example, comments=True)
        assert program == "paritygate"
        assert command._parser(given).parse_args(given).command == name


def test_the_program_is_called_what_one_types(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    shown = capsys.readouterr().out

    assert shown.startswith("usage: paritygate ")
    assert "python -m" not in shown
    assert "`paritygate COMMAND --help`" in shown
