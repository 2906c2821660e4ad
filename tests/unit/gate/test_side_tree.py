"""The tree of a side: its own sources and data, and head's code around them."""

from __future__ import annotations

import pytest

from paritygate.gate.side_tree import Listing, SideTree, may_differ

BASE = (
    "configs/net.json",
    "configs/base.json",
    "benchmarks/test_net.py",
    "benchmarks/data/x.csv",
    "src/pkg/__init__.py",
    "src/pkg/table.csv",
    "src/pkg/helper.py",
    "src/pkg/other/__init__.py",
    "src/pkg/sub/__init__.py",
    "src/pkg/sub/net.py",
    "setup.py",
)
HEAD = (*BASE, "src/pkg/new.py", "configs/head.json")
LEFT = ("src/pkg/_left.so", "_left.so")


@pytest.fixture(name="laid_out")
def _laid_out(tmp_path):
    """The text of every file in base's folder of links, by path; each text names its side."""
    trees = {}
    for side, files in (("base", BASE), ("head", HEAD)):
        trees[side] = tmp_path / side
        for file in files:
            (trees[side] / file).parent.mkdir(parents=True, exist_ok=True)
            (trees[side] / file).write_text(side)
    (trees["head"] / "weights").mkdir()  # git ignores it
    (trees["head"] / "weights" / "w.bin").write_text("head")
    (trees["head"] / ".cache").mkdir()
    for file in LEFT:  # of a build in the working tree
        (trees["head"] / file).write_text("head")

    def lay_out(*sources, built=()):
        for file in built:
            (trees["base"] / file).parent.mkdir(exist_ok=True)
            (trees["base"] / file).write_text("base")
        folder = tmp_path / "links"
        tree = SideTree(trees["head"], Listing(HEAD), sources, built=bool(built))
        tree.lay_out(folder, trees["base"], Listing(BASE, built))
        found = {}
        for path in [*BASE, *HEAD, "weights/w.bin", ".cache", *LEFT, *built]:
            if (folder / path).exists():
                found[path] = (folder / path).read_text()
        return found

    return lay_out


DATA = {
    "configs/net.json": "base",
    "configs/base.json": "base",  # and not configs/head.json
    "benchmarks/data/x.csv": "base",
    "weights/w.bin": "head",
    "_left.so": "head",
}


def test_a_root_of_packages_is_the_sides_and_so_is_all_data(laid_out):
    of_src = {path: "base" for path in BASE if path.startswith("src/")}

    assert laid_out("src") == DATA | of_src


def test_a_package_is_the_sides(laid_out):
    of_src = {path: "base" for path in BASE if path.startswith("src/")}

    assert laid_out("src/pkg") == DATA | of_src


def test_what_was_built_is_the_sides_and_what_an_earlier_build_has_left_is_not_there(laid_out):
    """It may lie beside a source, in a package of head's code or in a folder of its own."""
    built = ("src/pkg/_fast.so", "src/pkg/version.py", "src/pkg/sub/_deep.so", "lib/libfast.so")
    found = laid_out("src/pkg/sub", built=built)

    assert {path: found.get(path) for path in built} == dict.fromkeys(built, "base")
    assert not found.keys() & set(LEFT)
    assert found["src/pkg/helper.py"] == "head"


@pytest.mark.parametrize("source", ["src/pkg/sub", "src/pkg/sub/net.py"])
def test_around_a_source_in_a_package_code_is_heads_and_data_the_sides(laid_out, source):
    assert laid_out(source) == DATA | {
        "src/pkg/__init__.py": "head",
        "src/pkg/helper.py": "head",
        "src/pkg/new.py": "head",
        "src/pkg/_left.so": "head",
        "src/pkg/other/__init__.py": "head",
        "src/pkg/table.csv": "base",
        "src/pkg/sub/__init__.py": "base" if source == "src/pkg/sub" else "head",
        "src/pkg/sub/net.py": "base",
    }


def test_a_single_module_is_the_sides_and_no_other_code_is_there(laid_out):
    assert laid_out("setup.py") == DATA | {"setup.py": "base", "src/pkg/table.csv": "base"}


@pytest.mark.parametrize(
    ("changed", "differ"),
    [
        ([], False),
        (["tests/test_a.py", "src/other.py"], False),  # head's on both sides
        (["src/net/deep.py"], True),
        (["tests/test_a.py", "configs/net.json"], True),
    ],
)
def test_sides_differ_by_sources_and_by_data(changed, differ):
    assert may_differ(changed, ["src/net"]) is differ
