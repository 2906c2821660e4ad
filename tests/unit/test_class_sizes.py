"""No class has more than about ten public methods and attributes, or it says why."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.support.paths import ROOT

MOST = 12
# class -> (so many, why); its docstring says it at length
MORE = {
    "runtime/subject.py:BoundCase": (30, "the case's fields beside those of its task"),
    "session/laboratory.py:Laboratory": (24, "a row of conditions, all of them independent"),
    "gate/sides.py:Result": (13, "a row of results, each of its own step"),
    "worker/server.py:Worker": (20, "a handler for each request"),
    "parity/elements.py:Elements": (17, "a row of counts, filled element by element"),
    "runtime/devices/__init__.py:Device": (15, "all that backends and timing ask of a device"),
    "runtime/devices/cuda.py:Cuda": (13, "implements Device"),
    "runtime/devices/cpu.py:Cpu": (13, "implements Device"),
    "backends/contract.py:PreparedModel": (14, "what a backend may say of its model"),
}


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for folder in (ROOT / "bench" / "paritygate", ROOT / "reports" / "paritygate_reports"):
        for path in sorted(folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    yield f"{path.relative_to(folder)}:{node.name}", node


def public(node: ast.ClassDef) -> set[str]:
    """The public methods and attributes of a class; not the fields of a frozen dataclass, which is
    a row of values.
    """
    frozen = any("frozen=True" in ast.unparse(decorator) for decorator in node.decorator_list)
    found = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
    for part in ast.walk(node):
        if isinstance(part, ast.AnnAssign) and part in node.body and not frozen:
            found.add(ast.unparse(part.target))
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            owner, _, name = ast.unparse(part).rpartition(".")
            found |= {name} if owner == "self" else set()
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize(
    ("name", "node"), [pytest.param(*found, id=found[0]) for found in classes()]
)
def test_a_class_is_small_or_says_why_not(name, node):
    most, _ = MORE.get(name, (MOST, ""))
    found = public(node)

    assert len(found) <= most, (
        f"{name} has {len(found)} public methods and attributes, at most {most} are read easily: "
        f"make private what nobody else asks for, or move what is not its own: {sorted(found)}"
    )


def test_every_exception_is_needed_and_has_its_number():
    sizes = {name: len(public(node)) for name, node in classes()}

    assert {name: most for name, (most, _) in MORE.items()} == {
        name: sizes.get(name) for name in MORE
    }
    assert all(most > MOST for most, _ in MORE.values())
