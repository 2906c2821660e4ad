"""Which cells are identical on both sides: by what their processes used, and by what has changed."""

from __future__ import annotations

import json

import pytest

from paritygate.core.case import Case, Target, cell_of
from paritygate.gate import closure
from paritygate.gate.closure import STANDARD, Closures, Tree, entries, names
from paritygate.gate.identical import Change

FILES = {
    "README.md": "words",
    "configs/net.json": "{}",
    "pkg/__init__.py": "",
    "pkg/net.py": "import pkg.helper",
    "pkg/helper.py": "x = 1",
    "pkg/other.py": "y = 1",
    "pkg/table.csv": "1",
    "pkg/NOTES.md": "words",
    "suites/test_net.py": "CASES = ()",
    "tools/make.py": "z = 1",
}
USED = {
    ("file", "pkg/__init__.py"),
    ("file", "pkg/net.py"),
    ("file", "pkg/helper.py"),
    ("folder", "pkg/plugins"),
    ("module", "pkg"),
    ("module", "pkg.net"),
    ("module", "pkg.helper"),
    ("module", "pkg.fast"),  # not there: the code does without
    ("module", STANDARD),
}


def case(**more):
    shapes = {"b8": {"batch": 8}}
    return Case("net", model="pkg.net:Net", inputs="pkg.net:inputs", shapes=shapes, **more)


def cell(**more):
    made = case(**more)
    return cell_of(made, made.all_shapes()[0], Target("cpu", "eager", "fp32"))


class Sides:
    """Base and head, which start equal; head is then changed."""

    def __init__(self, folder):
        self.folder, self.of = folder, {"base": dict(FILES), "head": dict(FILES)}

    def tree(self, side, ignored=()):
        root = self.folder / side
        for file, text in self.of[side].items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(text)
        return Tree(root, set(self.of[side]) - set(ignored))

    def change(self, built=False, **head):
        """Return the difference after these changes of head: file -> text, or None to remove it."""
        for file, text in head.items():
            if text is None:
                del self.of["head"][file]
            else:
                self.of["head"][file] = text
        return self.difference(built)

    def difference(self, built=False):
        base, head = self.of["base"], self.of["head"]
        differing = [file for file in {*base, *head} if base.get(file) != head.get(file)]
        return Change(
            self.tree("base"),
            self.tree("head"),
            differing,
            ".",
            ["pkg"],
            frozenset({"suites/test_net.py"}),
            built,
        )


@pytest.fixture
def sides(tmp_path):
    return Sides(tmp_path)


@pytest.mark.parametrize(
    ("change", "identical"),
    [
        ({}, True),
        ({"README.md": "other words"}, True),
        ({".github/workflows/ci.yml": "new"}, True),
        ({"pkg/NOTES.md": "a document that no code opens"}, True),
        ({"pkg/other.py": "y = 2"}, True),
        ({"tools/make.py": "z = 2"}, True),
        ({"pkg/helper.py": "x = 2"}, False),
        ({"pkg/helper.py": None}, False),
        ({"pkg/helper.py": None, "pkg/renamed.py": "x = 1"}, False),
        ({"pkg/fast.py": "a module that was asked for and not found"}, False),
        ({"pkg/fast/__init__.py": "as a package"}, False),
        ({"pkg/fast.cpython-311-x86_64-linux-gnu.so": "compiled"}, False),
        ({"pkg/net/__init__.py": "a package goes before a module"}, False),
        ({"pkg/json.py": "hides a module of the standard library"}, False),
        ({"pkg/plugins/new.py": "in a folder that was listed"}, False),
        ({"pkg/table.csv": "2"}, False),
        ({"pkg/table.csv": None, "pkg/moved.csv": "1"}, False),
        ({"configs/net.json": "[]"}, False),
        ({"pkg/template.jinja": "new"}, False),
        ({"suites/test_net.py": "CASES = (1,)"}, False),
    ],
    ids=str,
)
def test_only_what_a_known_closure_holds_and_data_matters(sides, change, identical):
    found = sides.change(**change).identical(case(), USED)

    assert found == ("identical code and data, in 3 files" if identical else "")


@pytest.mark.parametrize(
    ("change", "identical"),
    [
        ({"README.md": "other words", "docs/new.rst": "words"}, True),
        ({"pkg/NOTES.md": "a document of the code under test"}, False),
        ({"tools/make.py": "z = 2"}, False),
        ({"configs/net.json": "[]"}, False),
    ],
    ids=str,
)
def test_without_a_known_closure_documents_alone_are_harmless(sides, change, identical):
    found = sides.change(**change).identical(case(), None)

    assert found == ("no code and no data differs" if identical else "")


@pytest.mark.parametrize(
    ("file", "identical"),
    [
        ("README.md", True),
        ("docs/new.rst", True),
        (".github/workflows/ci.yml", True),
        ("Makefile", False),
        ("CMakeLists.txt", False),
        (".cargo/config.toml", False),
        ("pkg/other.py", False),  # a build may read it
        ("setup.py", False),
        ("csrc/fast.cpp", False),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_where_builds_may_differ_texts_alone_are_harmless(sides, file, identical, known):
    named = case(depends=("configs/*.json",))
    change = sides.change(built=True, **{file: "other"})

    assert bool(change.identical(named, USED if known else None)) is identical


@pytest.mark.parametrize(
    ("changed", "identical"), [("pkg/table.csv", False), ("configs/net.json", True)]
)
def test_a_case_that_names_its_data_is_left_alone_by_other_data(sides, changed, identical):
    named = case(depends=("pkg/*.csv",))

    assert bool(sides.change(**{changed: "9"}).identical(named, USED)) is identical


def test_a_document_that_code_opens_is_data(sides):
    used = USED | {("file", "README.md")}

    assert not sides.change(**{"README.md": "a prompt"}).identical(case(), used)


def test_a_file_that_git_ignores_is_that_of_the_working_tree_on_both_sides(sides, tmp_path):
    change = sides.difference()
    (tmp_path / "head" / "weights.bin").write_text("1")
    used = {*USED, ("file", "weights.bin")}
    base = Tree(change.base.root, change.base.files, change.head)

    assert base.digest(("file", "weights.bin")) == change.head.digest(("file", "weights.bin")) != ""
    assert Change(base, change.head, [], ".", ["pkg"], frozenset()).identical(case(), used)


class TestClosures:
    """What one run keeps, another believes only where it is still so."""

    @pytest.fixture
    def kept(self, sides, tmp_path):
        closures = Closures(tmp_path / "closures", "quick")
        closures.keep(cell(), USED, sides.tree("head"))
        return closures

    def test_it_is_known_in_an_equal_tree(self, sides, kept):
        assert kept.known(cell(), sides.tree("base")) == USED

    @pytest.mark.parametrize(
        "change",
        [
            {"pkg/helper.py": "x = 2"},
            {"pkg/helper.py": None},
            {"pkg/fast.py": ""},
            {"pkg/plugins/new.py": ""},
            {"pkg/json.py": ""},
        ],
        ids=str,
    )
    def test_it_is_not_believed_in_another_tree(self, sides, kept, change):
        assert kept.known(cell(), sides.change(**change).head) is None

    def test_nor_for_other_work_another_budget_or_other_packages(
        self, sides, kept, tmp_path, monkeypatch
    ):
        tree = sides.tree("head")

        assert kept.known(cell(preprocess="pkg.net:scale"), tree) is None
        assert Closures(tmp_path / "closures", "normal").known(cell(), tree) is None
        monkeypatch.setattr(closure, "_environment", lambda: "a newer torch")
        assert kept.known(cell(), tree) is None

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"of": 1}'])
    def test_nor_from_a_damaged_file(self, sides, kept, tmp_path, text):
        (tmp_path / "closures" / f"{cell().id}.json").write_text(text)

        assert kept.known(cell(), sides.tree("head")) is None

    def test_nor_where_a_file_was_taken_out_of_it(self, sides, kept, tmp_path):
        """It must hold all of what was used: an empty one would be equal everywhere."""
        path = tmp_path / "closures" / f"{cell().id}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"entries": []}))

        assert kept.known(cell(), sides.tree("head")) is None


def test_names_by_which_a_file_is_imported():
    assert names("src/pkg/net.py") == ["src.pkg.net", "pkg.net", "net"]
    assert names("src/pkg/__init__.py") == ["src.pkg", "pkg"]
    assert names("pkg/fast.cpython-311-x86_64-linux-gnu.so") == ["pkg.fast", "fast"]
    assert names("pkg/table.csv") == names("Makefile") == []


def test_entries_are_relative_to_the_repository_whatever_folder_showed_them():
    used = [
        ("file", "/slots/s1/pkg/net.py"),
        ("file", "/repository/project/pkg/late.py"),
        ("folder", "/repository"),
        ("file", "/repository/project/.paritygate/cache/model.onnx"),
        ("file", "/elsewhere/x.py"),
        ("module", "pkg.late"),
    ]
    found = entries(used, {"/slots/s1": "project", "/repository": "."})

    assert found == {
        ("file", "project/pkg/net.py"),
        ("file", "project/pkg/late.py"),
        ("folder", "."),
        ("module", "pkg.late"),
        ("module", STANDARD),
    }
