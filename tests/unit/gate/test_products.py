"""The files of a tree and of a build: what is copied, what a build has made, what a wheel brings."""

from __future__ import annotations

import os
import zipfile

import pytest

from paritygate.gate import products
from paritygate.gate.products import contents, made, roots, unpack


def write(root, *files, text=""):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)


def below(root):
    return {
        str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("_fast.cpython-311-x86_64-linux-gnu.so", True),
        ("libfast.so.1", True),
        ("fast.pyd", True),
        ("fast.dylib", True),
        ("fast.soap", False),
        ("fast.py", False),
    ],
)
def test_compiled_files_are_known_by_name(name, is_one):
    assert products.compiled(name) is is_one


def test_path_mode_and_content_make_a_files_content(tmp_path):
    write(tmp_path, "a", "b")
    files = ("a", "b", "gone", "submodule")
    (tmp_path / "submodule").mkdir()
    first = contents(tmp_path, files)
    assert set(first) == {"a", "b"}

    (tmp_path / "a").chmod(0o755)
    write(tmp_path, "b", text="other")
    second = contents(tmp_path, files)
    assert first["a"] != second["a"]
    assert first["b"] != second["b"]
    (tmp_path / "b").unlink()
    (tmp_path / "b").symlink_to("a")
    assert contents(tmp_path, files)["b"] == "link a"


def test_a_copy_replaces_a_file_and_follows_no_link(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, "pkg/a.py", text="new")
    (one / "pkg" / "link").symlink_to("nowhere")
    write(two, "pkg/a.py", text="old")
    os.link(two / "pkg" / "a.py", tmp_path / "elsewhere")  # must not be written through
    products.copy(one, ["pkg/a.py", "pkg/link", "gone"], two)

    assert below(two) == {"pkg/a.py": "new"}
    assert os.readlink(two / "pkg" / "link") == "nowhere"
    assert (tmp_path / "elsewhere").read_text() == "old"


def test_a_build_has_made_what_is_new_or_changed_but_no_steps_on_the_way(tmp_path):
    write(tmp_path, "setup.py", "pkg/version.py", "pkg/net.py")
    before = contents(tmp_path, ["setup.py", "pkg/version.py", "pkg/net.py"])
    write(tmp_path, "pkg/version.py", text="1")
    write(tmp_path, "pkg/_fast.so", "lib/libfast.so.1", "pkg/table.bin", "build/libown.so")
    (tmp_path / "lib" / "libfast.so").symlink_to("libfast.so.1")
    write(
        tmp_path,
        "pkg/fast.o",
        "build/temp.linux/fast.so",
        "build/lib.linux-x86_64/pkg/_fast.so",
        "pkg.egg-info/PKG-INFO",
        "pkg/__pycache__/net.pyc",
    )

    assert set(made(tmp_path, before)) == {
        "pkg/version.py",
        "pkg/_fast.so",
        "pkg/table.bin",
        "lib/libfast.so",
        "lib/libfast.so.1",
        "build/libown.so",
    }


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("src", ["src", "."]),
        ("src/pkg", ["src", "."]),
        ("src/pkg/sub", ["src", "."]),
        ("space", ["space", "."]),  # a package without a file of its own
        ("model.py", ["."]),
    ],
)
def test_roots_are_the_folders_from_which_sources_are_imported(tmp_path, source, found):
    write(tmp_path, "src/pkg/__init__.py", "src/pkg/sub/__init__.py", "space/net.py", "model.py")

    assert roots(tmp_path, [source]) == [tmp_path / folder for folder in found]


class TestWheels:
    """What is taken of them, and where it lands."""

    @pytest.fixture
    def wheel(self, tmp_path):
        def make(name, *entries):
            path = tmp_path / "wheels" / f"{name}.whl"
            path.parent.mkdir(exist_ok=True)
            with zipfile.ZipFile(path, "w") as archive:
                for entry in entries:
                    archive.writestr(entry, "of the wheel")
            return path

        return make

    @pytest.fixture
    def tree(self, tmp_path):
        write(tmp_path / "tree", "src/pkg/__init__.py", "src/pkg/old.so", "model.py", text="tree")
        return tmp_path / "tree"

    def test_compiled_files_and_what_the_tree_lacks(self, wheel, tree):
        entries = (
            "pkg/__init__.py",
            "pkg/old.so",
            "pkg/sub/_fast.so",
            "pkg/version.py",
            "pkg_extra/_more.so",
            "_alone.so",
            "pkg-1.dist-info/METADATA",
            "pkg-1.data/platlib/pkg/data.bin",
            "pkg-1.data/scripts/run",
            "../out.so",
        )
        unpack([wheel("pkg", *entries)], roots(tree, ["src"]))

        new = "of the wheel"
        assert below(tree) == {
            "model.py": "tree",
            "src/pkg/__init__.py": "tree",
            "src/pkg/old.so": new,
            "src/pkg/sub/_fast.so": new,
            "src/pkg/version.py": new,
            "src/pkg/data.bin": new,
            "src/pkg_extra/_more.so": new,
            "src/_alone.so": new,
        }
        assert not (tree.parent / "out.so").exists()

    def test_a_package_lands_where_it_is_also_below_no_source(self, wheel, tree):
        write(tree, "space/net.py")
        unpack([wheel("space", "space/_fast.so", "_beside.so")], roots(tree, ["space"]))

        assert {"space/_fast.so", "_beside.so"} <= set(below(tree))

    def test_wheels_of_dependencies_are_left_out(self, wheel, tree):
        before = below(tree)
        unpack([wheel("torch", "torch/lib.so"), wheel("numpy", "numpy/core.so")], [tree / "src"])

        assert below(tree) == before
        unpack([wheel("alone", "_alone.so")], roots(tree, ["model.py"]))
        assert "_alone.so" in below(tree)
