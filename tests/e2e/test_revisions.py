"""Checkouts of other revisions: found by any name, gone afterwards, refused with what to do."""

from __future__ import annotations

import os
import subprocess

import pytest

from paritygate.gate import revisions
from paritygate.gate.revisions import RevisionError, Worktree
from paritygate.host.git import output


def git(where, *command):
    done = subprocess.run(
        [
            "git",
            "-c",
            "user.email=a@b.c",
            "-c",
            "user.name=A",
            "-c",
            "protocol.file.allow=always",
            *command,
        ],
        cwd=where,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    for number in (1, 2):
        (root / "models").mkdir(exist_ok=True)
        (root / "models" / "m.py").write_text(f"NUMBER = {number}\n")
        git(root, "add", "-A")
        git(root, "commit", "-q", "-m", str(number))
        git(root, "tag", f"v{number}")
    return root


def trees(root):
    return git(root, "worktree", "list", "--porcelain").count("worktree ")


@pytest.mark.parametrize("name", ["v1", "HEAD~1", "main~1", "side"])
def test_tags_branches_and_abbreviations_are_revisions(root, tmp_path, name):
    git(root, "branch", "side", "v1")
    tree = Worktree(root, name, tmp_path / "trees")

    assert (tree.root / "models" / "m.py").read_text() == "NUMBER = 1\n"
    assert tree.commit == git(root, "rev-parse", "v1")
    tree.close()
    assert not list((tmp_path / "trees").iterdir())
    assert trees(root) == 1


def test_a_revision_that_is_no_ancestor_and_head_itself_work(root, tmp_path):
    git(root, "checkout", "-q", "--orphan", "other")
    git(root, "commit", "-q", "--allow-empty", "-m", "other")
    git(root, "checkout", "-q", "main")
    for name in ("other", "HEAD"):
        tree = Worktree(root, name, tmp_path / "trees")
        assert tree.commit == git(root, "rev-parse", name)
        assert (tree.root / "models" / "m.py").exists()
        tree.close()


def test_a_branch_whose_name_is_no_utf_8_is_no_error(root):
    subprocess.run([b"git", b"checkout", b"-q", b"-b", b"caf\xe9"], cwd=root, check=True)

    assert output(root, "symbolic-ref", "--short", "HEAD") == "caf\ufffd"


def test_a_dirty_tree_is_no_obstacle_and_stays_as_it_is(root, tmp_path):
    (root / "models" / "m.py").write_text("NUMBER = 3\n")
    (root / "models" / "new.txt").write_text("not added yet")
    assert revisions.changed(root) == ["models/m.py", "models/new.txt"]
    assert revisions.changed(root / "models") == ["m.py", "new.txt"]
    assert {"m.py", "new.txt"} <= set(revisions.files(root / "models"))
    Worktree(root, "v1", tmp_path / "trees").close()

    assert (root / "models" / "m.py").read_text() == "NUMBER = 3\n"


def test_a_project_below_the_repositorys_root_is_found_in_the_checkout(root, tmp_path):
    tree = Worktree(root / "models", "v1", tmp_path / "trees")

    assert (tree.root / "m.py").read_text() == "NUMBER = 1\n"
    tree.close()


def test_checkouts_of_killed_runs_are_swept(root, tmp_path):
    tree = Worktree(root, "v1", tmp_path / "trees")
    ended = subprocess.Popen(["true"])
    ended.wait()
    tree.path.rename(tree.path.with_name(f"{ended.pid}-abcdef"))
    Worktree(root, "v1", tmp_path / "trees").close()

    assert not list((tmp_path / "trees").iterdir())
    assert trees(root) == 1


def test_a_shallow_clone_says_how_to_deepen_it(root, tmp_path):
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{root}", "shallow")

    with pytest.raises(
        RevisionError, match=r"'v1' is not in this shallow clone.*--unshallow.*fetch-depth: 0"
    ):
        Worktree(tmp_path / "shallow", "v1", tmp_path / "trees")


def test_no_repository_is_said(tmp_path):
    with pytest.raises(RevisionError, match="needs a git repository"):
        Worktree(tmp_path, "HEAD", tmp_path / "trees")


def test_submodules_of_a_commit_are_known(root, tmp_path):
    git(root, "submodule", "--quiet", "add", str(root), "models/inner")
    git(root, "commit", "-q", "-m", "submodule")

    assert revisions.submodules(root, "HEAD") == ["models/inner"]


def test_what_a_git_hook_sets_does_not_lead_astray(root, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))

    Worktree(root, "v1", tmp_path / "trees").close()
    assert not os.path.exists(tmp_path / "index")
