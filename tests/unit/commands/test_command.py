"""The one command ``paritygate``: its table is complete, and it imports only what the asked command
needs.
"""

from __future__ import annotations

from importlib import import_module

import pytest

from paritygate import __main__ as command
from paritygate.commands import gpu_check
from paritygate.core.errors import UserError


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_has_help_examples_and_does_something(name, capsys):
    row = command.COMMANDS[name]
    module = import_module(row.module)
    with pytest.raises(SystemExit) as end:
        command.main([name, "--help"])
    said = capsys.readouterr().out

    assert end.value.code == 0
    assert callable(module.run)
    assert (module.__doc__ or "").splitlines()[0] in said
    assert all(
        f"paritygate {name}" in example or f" {name}" in example for example in module.EXAMPLES
    )
    assert ("--store" in said) == row.stored


def test_the_store_may_be_named_before_the_command_or_behind_it(tmp_path, capsys):
    for given in (
        ["--store", f"{tmp_path}/none.sqlite", "runs"],
        ["runs", "--store", f"{tmp_path}/none.sqlite"],
    ):
        assert command.main(given) == 2
        assert f"paritygate: there is no store {tmp_path}/none.sqlite" in capsys.readouterr().err


def test_a_wrong_command_lists_the_right_ones(capsys):
    with pytest.raises(SystemExit) as end:
        command.main(["run"])

    assert end.value.code == 2
    assert "'runs'" in capsys.readouterr().err.replace("runs,", "'runs'")


def test_gpu_check_says_that_it_needs_a_checkout(monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "find_spec", lambda name: None)

    assert command.main(["gpu-check"]) == 2
    assert "needs a checkout" in capsys.readouterr().err
    with pytest.raises(UserError, match="make setup"):
        gpu_check.run(None)
