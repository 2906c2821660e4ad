"""Slots: the code under test through links, on paths of equal length, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from paritygate.gate import source_links
from paritygate.gate.side_tree import Listing
from paritygate.gate.source_links import Slots


@pytest.fixture(autouse=True)
def files(monkeypatch):
    """Every file of a tree is one that git has."""

    def below(root):
        return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]

    monkeypatch.setattr(source_links, "files", below)


def project(folder: Path, text: str) -> Path:
    (folder / "src" / "net").mkdir(parents=True)
    (folder / "src" / "net" / "__init__.py").write_text(text)
    (folder / "model.py").write_text(text)
    return folder


def test_a_slot_holds_the_sources_of_the_tree_it_was_given(tmp_path):
    base, head = project(tmp_path / "base", "1"), project(tmp_path / "head", "2")
    slots = Slots(tmp_path / "slots", head, ["src/net", "model.py"])
    for order in ([0, 1], [1, 0]):  # filled anew for every launch
        of_base, of_head = slots.fill(order, [base, head])

        assert (of_base / "model.py").read_text() == "1"
        assert (of_head / "src" / "net" / "__init__.py").read_text() == "2"
        assert len(str(of_base)) == len(str(of_head))


def test_a_tree_in_which_something_was_built_is_listed_with_it(tmp_path):
    """Git ignores what was built."""
    working = project(tmp_path / "working", "2")
    base, head = project(tmp_path / "base", "1"), project(tmp_path / "head", "2")
    for tree in (base, head):
        (tree / "lib").mkdir()
        (tree / "lib" / "libnet.so").write_text(tree.name)
    built = {tree: Listing(["model.py"], ["lib/libnet.so"]) for tree in (base, head)}
    slots = Slots(tmp_path / "slots", working, ["src/net"], built)
    of_base, of_head = slots.fill([0, 1], [base, head])

    assert (of_base / "lib" / "libnet.so").read_text() == "base"
    assert (of_head / "lib" / "libnet.so").read_text() == "head"


def test_what_lies_inside_the_project_is_looked_up_in_the_slot_first(tmp_path):
    head = project(tmp_path / "head", "2")
    slots = Slots(tmp_path / "slots", head, ["src/net"])
    slot = tmp_path / "slots" / "s0"
    path = slots.path(slot, ["/usr/lib/python", str(head / "src"), str(head)])

    assert path == [str(slot / "src"), str(slot), "/usr/lib/python", str(head / "src"), str(head)]


@pytest.mark.parametrize("source", ["src", "src/net", "src/net/deep.py"])
def test_a_root_a_package_and_a_module_are_sources(tmp_path, source):
    head = project(tmp_path / "head", "2")
    slots = Slots(tmp_path / "slots", head, [source])
    slot, path = tmp_path / "slots" / "s0", ["/usr/lib", str(head / "src")]
    inside = {"net.deep": str(slot / "src" / "net" / "deep.py")}

    assert slots.under_test(inside, slot)
    assert slots.strangers(inside, slot, path) == []
    for elsewhere in ("/usr/lib/net/deep.py", str(head / "src" / "net" / "deep.py")):
        found = slots.strangers({"net.deep": elsewhere, "other": "/usr/lib/o.py"}, slot, path)
        assert found == [f"net.deep from {elsewhere}"]
        assert not slots.under_test({"net.deep": elsewhere}, slot)


def test_a_name_that_only_begins_like_a_source_is_no_stranger(tmp_path):
    slots = Slots(tmp_path / "slots", project(tmp_path / "head", "2"), ["src/net"])
    slot = tmp_path / "slots" / "s0"

    assert slots.strangers({"network": "/usr/lib/network.py"}, slot, ["/usr/lib"]) == []
