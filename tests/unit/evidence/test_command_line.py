"""Every script in ``bench/evidence`` tells by ``--help`` what it makes, and does nothing then."""

from __future__ import annotations

import ast

import pytest

from tests.support.paths import ROOT

SCRIPTS = [
    path
    for path in sorted((ROOT / "bench" / "evidence").glob("*.py"))
    if 'if __name__ == "__main__"' in path.read_text()
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_arguments_are_read_before_anything_is_done(script):
    functions = {
        node.name: node
        for node in ast.parse(script.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    calls = [node for node in ast.walk(functions["main"]) if isinstance(node, ast.Call)]
    made = [ast.unparse(call.func) for call in calls]

    assert "command_line.parser" in made
    assert any(name.endswith("parse_args") for name in made)
