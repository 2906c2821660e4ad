"""A kept build is believed only where all that it depends on is the same."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from paritygate.gate.build import Builds
from paritygate.gate.build_command import BuildCommand
from paritygate.gate.compilers import variables

FILES = {"setup.py": "file 1", "pkg/fast.c": "file 2"}
FACTS = {
    "python": "3.11",
    "abi": "cpython-311",
    "machine": "x86_64",
    "packages": ["torch==2.13.0"],
    "compilers": ["/usr/bin/gcc 1 2"],
    "variables": {"CFLAGS": "-O3"},
}


def digest(words=("make",), project=".", sources=("pkg",), files=FILES, facts=FACTS):
    command = BuildCommand(" ".join(words), tuple(words))
    builds = Builds(Path(), command, Path(), PurePosixPath(project), sources)
    return builds.digest(files, facts)


@pytest.mark.parametrize(
    "other",
    [
        {"words": ("make", "all")},
        {"words": ("make all",)},
        {"project": "sub"},
        {"sources": ("src",)},
        {"files": FILES | {"pkg/fast.c": "program 2"}},
        {"files": FILES | {"pkg/fast.h": "file 3"}},
        {"files": {"setup.py": "file 1", "pkg/slow.c": "file 2"}},
        *({"facts": FACTS | {name: "other"}} for name in FACTS),
    ],
    ids=str,
)
def test_each_of_them_changes_the_digest(other):
    assert digest(**other) != digest()


def test_the_order_of_files_does_not():
    assert digest(files=dict(reversed(FILES.items()))) == digest()


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("CC", True),
        ("CXXFLAGS", True),
        ("LDFLAGS", True),
        ("TORCH_CUDA_ARCH_LIST", True),
        ("CUDA_HOME", True),
        ("CMAKE_ARGS", True),
        ("FORCE_CUDA", True),
        ("MAX_JOBS", False),
        ("CUDA_VISIBLE_DEVICES", False),
        ("HOME", False),
        ("GITHUB_RUN_ID", False),
    ],
)
def test_variables_that_compilers_read_count(name, counts):
    assert bool(variables({name: "1"})) is counts
