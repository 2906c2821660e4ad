"""Compiled files in the code under test, without a command that makes them."""

from __future__ import annotations

import subprocess

import pytest

from paritygate.gate import source_checks
from paritygate.gate.revisions import RevisionError


@pytest.fixture
def check(tmp_path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("*.so\n")

    def check(*files, source="src"):
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text("")
        source_checks.check_compiled(tmp_path, [source])

    return check


def test_ignored_and_untracked_ones_are_named_up_to_three(check):
    with pytest.raises(RevisionError) as refused:
        check("src/p/a.so", "src/p/b.so", "src/p/c.pyd", "src/p/d.so", "src/p/e.so")

    said = str(refused.value)
    assert "src/p/a.so, src/p/b.so, src/p/c.pyd and 2 more. Base would have none" in said
    assert "`bench_build = pip wheel" in said


def test_tracked_ones_and_those_elsewhere_are_each_sides_own_business(check, tmp_path):
    check("src/p/net.py", "other/a.so", "src/.venv/lib/torch.so", "src2/a.so")
    (tmp_path / "src" / "p" / "tracked.so").write_text("")
    subprocess.run(["git", "add", "-f", "src/p/tracked.so"], cwd=tmp_path, check=True)
    check()


def test_a_name_is_no_pattern(check):
    check("src2/a.so", "src*/net.py", source="src*")
