"""Known failures bound to versions of packages: where they hold, where a cell is an ordinary one,
and what a key must look like.
"""

from __future__ import annotations

from importlib.metadata import version

import pytest

from paritygate.core import known_failures
from paritygate.core.case import Case, Target
from paritygate.core.declaration import DeclarationError

TARGET = Target("cpu", "compile", "fp32")
INSTALLED = {"torch": "2.14.1+cpu", "onnx": "1.20.0", "nightly": "2.15.0.dev20261101"}


def case(**failures):
    return Case("one", model="m:Net", inputs="m:inputs", shapes={"b1": {"batch": 1}}, **failures)


@pytest.fixture
def _installed(monkeypatch):
    monkeypatch.setattr(known_failures, "installed", INSTALLED.get)


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(
    ("key", "holds"),
    [
        ("compile", True),
        ("eager", False),
        ("torch>=2.13", True),
        ("torch >= 2.13, < 2.15", True),
        ("torch==2.14.1", True),
        ("torch==2.14.*", True),
        ("torch!=2.14.1", False),
        ("torch<2.14", False),
        ("cpu-compile*-*; torch>=2.13", True),
        ("cpu-compile*-*;torch<2.14", False),
        ("cuda-*; torch>=2.13", False),
        ("torch>=2.13; cpu-*", True),
        ("compile; torch>=2.13; onnx<1.21", True),
        ("compile; torch>=2.13; onnx<1.20", False),
        ("absent>=1", False),
        ("nightly<2.15", False),
        ("nightly<2.16", True),
    ],
)
def test_a_key_holds_for_its_targets_and_its_versions(key, holds):
    found = case(known_failures={key: "issue 12"}).known_failure(TARGET)
    assert (found is not None) == holds


@pytest.mark.usefixtures("_installed")
def test_the_reason_names_the_key_and_what_is_installed():
    both = {
        "compile; torch<2.14": "issue 11",
        "compile; torch>=2.14; onnx>=1": "issue 12",
        "compile": "issue 13",
    }
    assert case(known_failures=both).known_failure(TARGET) == (
        'issue 12 ("compile; torch>=2.14; onnx>=1", here torch 2.14.1+cpu, onnx 1.20.0)'
    )
    assert case(known_failures={"cpu": "issue 13"}).known_failure(TARGET) == "issue 13"


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("torch=>2.13", "'torch=>2.13' is no package with its versions"),
        ("compile; torch>=two", "'torch>=two' is no package with its versions"),
        (">=2.13", "'>=2.13' is no package with its versions"),
        ("torch[opt]>=2.13", "'torch[opt]>=2.13' is no package with its versions"),
        ("cpu-*; cuda-*", "cpu-* and cuda-* are two targets"),
        ("compile; torch", "compile and torch are two targets"),
        ("compile;", "a part is empty"),
        ("", "a part is empty"),
    ],
)
def test_a_bad_key_is_refused_where_it_is_declared(key, wrong):
    with pytest.raises(DeclarationError) as refused:
        case(known_failures={key: "issue 12"})
    assert str(refused.value) == (
        f"case one: known_failures key {key!r}: {wrong}; write a target, versions, or both, e.g. "
        '"cpu-compile-*; torch>=2.13,<2.15"'
    )


def test_known_failures_are_a_dict():
    with pytest.raises(
        DeclarationError, match=r"^case one: known_failures=\('torch>=2.13',\) must be a dict"
    ):
        case(known_failures=("torch>=2.13",))


def test_packages_are_found_by_their_name_or_by_what_is_imported():
    assert known_failures.installed("pytest") == version("pytest")
    assert known_failures.installed("sklearn") == version("scikit-learn")
    assert known_failures.installed("no-such-package") is None
