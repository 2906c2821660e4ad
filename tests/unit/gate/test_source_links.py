"""Slots: the code under test through links, on paths of equal length, and nothing else."""

from __future__ import annotations

from pathlib import Path

from paritygate.gate.source_links import Slots, strangers


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


def test_what_lies_inside_the_project_is_looked_up_in_the_slot_first(tmp_path):
    head = project(tmp_path / "head", "2")
    slots = Slots(tmp_path / "slots", head, ["src/net"])
    slot = tmp_path / "slots" / "s0"
    path = slots.path(slot, ["/usr/lib/python", str(head / "src"), str(head)])

    assert path == [str(slot / "src"), str(slot), "/usr/lib/python", str(head / "src"), str(head)]


def test_modules_from_elsewhere_are_strangers(tmp_path):
    slot = tmp_path / "s0"
    sources = {
        "net": str(slot / "net.py"),
        "net.deep": "/usr/lib/net/deep.py",
        "other": "/usr/lib/other.py",
    }

    assert strangers(sources, {"net"}, slot) == ["net.deep from /usr/lib/net/deep.py"]
